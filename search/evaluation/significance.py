"""Test whether one run is better than another: pure functions over two runs of the same queries."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from search.errors import NothingToMeasure
from search.evaluation.evaluate import KS
from search.evaluation.metrics import MISS, best_relevant_rank
from search.evaluation.topics import IMAGE_TO_TEXT, TEXT_TO_IMAGE
from search.evaluation.trec import Qrels, Run

ROUNDS = 10_000
_NAME_OF_TOPIC = re.compile(r"(?P<photo>.*)#(?P<language>[^#\d]+)(?P<number>\d*)")


def compare(run_a: Run, run_b: Run, qrels: Qrels, seed: int = 0, rounds: int = ROUNDS) -> dict:
    """Compare R@k of two runs on the judged queries, and test whether they differ by more than chance.

    A query that is missing in a run is a miss. Queries that `evaluate` wrote are grouped into rows by direction and language,
    and those of one photo are drawn together, because its five captions are not five independent queries. All other queries
    are independent.

    Returns:
        `{"queries", "seed", "rounds", "results": [row, ...]}`. A row has `direction` and `language` (None for queries that
        `evaluate` did not write), `queries`, `measure`; in percent `a`, `b` and `difference` (b - a) with its 95 % bootstrap
        interval `difference_ci`; the numbers of queries that are `better` and `worse`; and `p` of the paired randomisation
        test.

    Raises:
        NothingToMeasure: nothing was judged.
    """
    if not qrels:
        raise NothingToMeasure("The judgements name no right answer: take the file that `evaluate --qrels` wrote.")
    queries = sorted(qrels)
    ranks_a, ranks_b = (np.array([_rank(run.get(query, {}), qrels[query]) for query in queries]) for run in (run_a, run_b))
    kinds = [_kind(query) for query in queries]
    rows = []
    for kind in sorted({one[:2] for one in kinds}, key=str, reverse=True):
        chosen = np.array([one[:2] == kind for one in kinds])
        groups = np.unique([one[2] for one in kinds if one[:2] == kind], return_inverse=True)[1]
        for k in KS:
            rows.append(
                {"direction": kind[0], "language": kind[1], "queries": int(chosen.sum()), "measure": f"R@{k}"}
                | compare_hits(ranks_a[chosen] <= k, ranks_b[chosen] <= k, groups, seed, rounds)
            )
    return {"queries": len(queries), "seed": seed, "rounds": rounds, "results": rows}


def compare_hits(a: np.ndarray, b: np.ndarray, groups: np.ndarray, seed: int = 0, rounds: int = ROUNDS) -> dict:
    """Compare two systems on the same queries.

    The randomisation test (Smucker et al., CIKM 2007) exchanges the two systems on a random half of the groups, again and
    again: p is the share of rounds in which the difference is at least as large as the measured one.

    Args:
        a: bool [n], True for the queries that the first system answered.
        b: bool [n], the same of the second system.
        groups: int [n] from 0 upwards, equal for queries that belong together.
    """
    differences = np.bincount(groups, weights=b.astype(float) - a)
    sizes = np.bincount(groups)
    rng = np.random.default_rng(seed)
    even = np.full(len(sizes), 1 / len(sizes))
    as_large, drawn_differences = 0, np.empty(rounds)
    for i in range(rounds):
        signs = rng.integers(0, 2, len(sizes)) * 2 - 1
        as_large += abs(signs @ differences) >= abs(differences.sum()) - 1e-9
        drawn = rng.multinomial(len(sizes), even)
        drawn_differences[i] = 100 * (drawn @ differences) / (drawn @ sizes)
    low, high = np.percentile(drawn_differences, [2.5, 97.5])
    return {
        "a": round(100 * float(a.mean()), 2),
        "b": round(100 * float(b.mean()), 2),
        "difference": round(100 * float(b.mean() - a.mean()), 2),
        "difference_ci": [round(float(low), 2), round(float(high), 2)],
        "better": int((b & ~a).sum()),
        "worse": int((a & ~b).sum()),
        "p": round((1 + as_large) / (1 + rounds), 5),
    }


def comparison_lines(report: dict) -> Iterator[str]:
    """Format what `compare` returned as lines of text."""
    yield (
        f"{report['queries']} queries; B - A in percent with its 95 % interval; p of a paired randomisation test, "
        f"{report['rounds']} rounds"
    )
    yield f"{'direction':15} {'lang':5} {'':5} {'A':>6} {'B':>6} {'B - A':>22} {'better':>7} {'worse':>6} {'p':>8}"
    for row in report["results"]:
        low, high = row["difference_ci"]
        difference = f"{row['difference']:+.1f} ({low:+.1f} to {high:+.1f})"
        yield (
            f"{row['direction'] or '':15} {row['language'] or '':5} {row['measure']:5} {row['a']:6.1f} {row['b']:6.1f} "
            f"{difference:>22} {row['better']:7} {row['worse']:6} {row['p']:8.4f}"
        )


def _rank(scores: dict[str, float], relevant: set[str]) -> float:
    if not scores:
        return MISS
    return best_relevant_rank(list(scores.values()), [document in relevant for document in scores])


def _kind(query: str) -> tuple[str | None, str | None, str]:
    """Direction, language and group of a query, by its name."""
    name = _NAME_OF_TOPIC.fullmatch(query)
    if name is None:
        return None, None, query
    return TEXT_TO_IMAGE if name["number"] else IMAGE_TO_TEXT, name["language"], name["photo"]
