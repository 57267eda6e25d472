"""Whether one run is better than another: pure functions over what two run files say of the same queries."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from search.errors import NothingToMeasure
from search.evaluation.evaluate import KS
from search.evaluation.metrics import MISS, best_relevant_rank
from search.evaluation.trec import Qrels, Run

ROUNDS = 10_000
_OURS = re.compile(r"(?P<photo>.*)#(?P<language>[^#\d]+)(?P<number>\d*)")


def compare(run_a: Run, run_b: Run, qrels: Qrels, seed: int = 0, rounds: int = ROUNDS) -> dict:
    """R@k of two runs on the queries that were judged, and whether they differ by more than chance.

    A query that a run lacks is a miss. Queries that `evaluate` wrote are told apart by direction and language, and those of
    one photo are drawn together, for its five captions are not five independent queries; all others stand by themselves.

    Returns:
        `{"queries", "seed", "rounds", "results": [row, ...]}`; a row has `direction` and `language` (None for what `evaluate`
        did not write), `queries`, `measure`, and in percent `a`, `b`, `difference` (b - a) with a 95 % bootstrap interval
        `difference_ci`, `better` and `worse` (how many queries), and `p` of the paired randomisation test.

    Raises NothingToMeasure where nothing was judged.
    """
    if not qrels:
        raise NothingToMeasure("The judgements name no right answer: take the file that `evaluate --qrels` wrote.")
    queries = sorted(qrels)
    ranks = [np.array([_rank(run.get(query, {}), qrels[query]) for query in queries]) for run in (run_a, run_b)]
    kinds = [_kind(query) for query in queries]
    rows = []
    for kind in sorted({one[:2] for one in kinds}, key=str, reverse=True):
        chosen = np.array([one[:2] == kind for one in kinds])
        groups = np.unique([one[2] for one in kinds if one[:2] == kind], return_inverse=True)[1]
        for k in KS:
            hits = [own[chosen] <= k for own in ranks]
            rows.append(
                {"direction": kind[0], "language": kind[1], "queries": int(chosen.sum()), "measure": f"R@{k}"}
                | compare_hits(*hits, groups, seed, rounds)
            )
    return {"queries": len(queries), "seed": seed, "rounds": rounds, "results": rows}


def compare_hits(a: np.ndarray, b: np.ndarray, groups: np.ndarray, seed: int = 0, rounds: int = ROUNDS) -> dict:
    """Two systems on the same queries.

    The randomisation test (Smucker et al., CIKM 2007) exchanges the two systems on half of the groups, again and again: p is
    how often the difference is then at least as large as it was.

    Args:
        a, b: bool [n], whether each query was answered.
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
    """The same for people."""
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


def _rank(found: dict[str, float], right: set[str]) -> float:
    if not found:
        return MISS
    return best_relevant_rank(np.array(list(found.values())), np.array([document in right for document in found]))


def _kind(query: str) -> tuple[str | None, str | None, str]:
    """Direction, language, and what the query belongs to."""
    ours = _OURS.fullmatch(query)
    if ours is None:
        return None, None, query
    return "text_to_image" if ours["number"] else "image_to_text", ours["language"], ours["photo"]
