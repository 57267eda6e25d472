"""Format a search result and an evaluation as lines of text, from their JSON."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

from search.evaluation.evaluate import KS
from search.retrieval.calibration import WORDS
from storage.origins import is_generated

VERDICTS = {
    "strong": "strong match",
    "weak": "weak match: these may not be what you mean",
    "none": "nothing found: these come nearest",
}
"""What to say above the hits, for each word of `relevance`."""
_WORDS = {
    "people": "the caption that a query was taken from is hidden from the lexical index; the photo's other captions are not",
    "both": "the lexical index has people's captions but that which a query was taken from, and those that a model wrote",
    "generated": "the lexical index has only the captions that a model wrote",
}
SHADES = "·░▒▓█"
MAPS_A_ROW = 6


def result_lines(result: dict) -> Iterator[str]:
    """Format the hits, best first, and the times; from `SearchResult.as_json()`."""
    if len(result["terms"]) > 1:
        yield "searched for " + terms_as_text(result["terms"])
    yield from result["notices"]
    if result["relevance"] is not None:
        yield VERDICTS[result["relevance"]]
    for number, hit in enumerate(result["hits"], 1):
        yield from _hit_lines(number, hit)
    times = ", ".join(f"{stage} {ms:.0f}" for stage, ms in result["took_ms"].items())
    if result.get("where") and not result["total"]:
        yield "nothing fits the filter: " + result["where"]
    count = len(result["hits"])
    yield f"{count} hit{'' if count == 1 else 's'}, {result['reranked']} re-ranked; milliseconds: {times}"
    if result["cursor"] is not None:
        yield f"next page: --cursor {result['cursor']}"


def _hit_lines(number: int, hit: dict) -> Iterator[str]:
    name = hit["uri"] if "uri" in hit else f"[{hit['language']}] {_caption(hit)}"
    yield f"{number:3}. {name}"
    yield (
        f"     score {hit['score']:.3f}  first stage {hit['first_stage_score']:.3f} "
        f"(rank {hit['first_stage_rank']}){_lexical(hit)}{_match(hit)}"
    )
    for line in hit.get("texts", [])[:2]:
        yield f"     in the photo: {line['text']}"
    for caption in _best_first(hit)[:2]:
        yield f"     {_caption(caption)}"
    if "explanation" in hit:
        yield from (f"     {line}" for line in explanation_lines(hit["explanation"]))
    if hit["duplicates"]:
        yield f"     and {len(hit['duplicates'])} near-duplicates: {', '.join(map(str, hit['duplicates']))}"


def _caption(caption: dict) -> str:
    """The text of a caption; one that a model wrote is marked. Servers of older versions tell no origin."""
    return caption["text"] + (" (written by a model)" if is_generated(caption.get("origin", "")) else "")


def explanation_lines(explanation: dict) -> Iterator[str]:
    """Draw the maps of the sentence and of each word side by side, darkest where most; from `Explanation.as_json()`."""
    maps = [("all of it", explanation["heat"]), *((word["word"], word["heat"]) for word in explanation["words"])]
    width = 2 * explanation["grid"][1] + 3
    for start in range(0, len(maps), MAPS_A_ROW):
        row = maps[start : start + MAPS_A_ROW]
        yield "".join(_cut(name, width) for name, _ in row).rstrip()
        for line in zip(*(heat for _, heat in row), strict=True):
            yield "".join("".join(2 * _shade(value) for value in values).ljust(width) for values in line).rstrip()


def terms_as_text(terms: list[dict]) -> str:
    """Format terms, such as '"beach sunset", 2 x photo 17, without "people"'; from the JSON of terms."""
    return ", ".join(_term(term) for term in terms)


def evaluation_lines(report: dict) -> Iterator[str]:
    """Format the tables of an evaluation; from what `evaluate` returns."""
    if report["protocol"] != "all" or report["mode"] != "vector":
        folds = f", the mean over {report['folds']} folds" if report["folds"] > 1 else ""
        yield f"protocol {report['protocol']}{folds}; mode {report['mode']}"
    if report["mode"] != "vector":
        yield _WORDS[report.get("words", "people")]
    yield (
        f"{report['images']} images; R@k is the share of queries with a right answer in the top k, in percent, with its "
        "95 % interval;"
    )
    yield "ceiling is the share of queries that re-ranking could at best put first"
    yield from report.get("notices", [])
    yield (
        f"{'direction':15} {'lang':5} {'rerank':>6} {'queries':>7} "
        + " ".join(f"{f'R@{k}':>15}" for k in KS)
        + f" {'ceiling':>7} {'p50 ms':>7} {'p95 ms':>7}"
    )
    for row in report["results"]:
        recalls = " ".join(f"{_with_interval(row[f'R@{k}'], row[f'R@{k}_ci']):>15}" for k in KS)
        ceiling = f"{row['ceiling']:.1f}" if "ceiling" in row else ""
        yield (
            f"{row['direction']:15} {row['language']:5} {row['rerank']:6} {row['queries']:7} {recalls} "
            f"{ceiling:>7} {row['p50_ms']:7.1f} {row['p95_ms']:7.1f}"
        )
    if report["rsum"]:
        yield "rsum, the six recalls added up, at most 600:"
    for row in report["rsum"]:
        yield f"  {row['language']:5} {row['rerank']:6} {row['rsum']:7.1f}"
    yield from _unanswerable_lines(report.get("relevance", []))


def percent(probability: float) -> str:
    """Format a probability: "87 %", and "<1 %" or ">99 %" at the ends, because nothing is certain."""
    rounded = round(100 * probability)
    if rounded < 1:
        return "<1 %"
    return ">99 %" if rounded > 99 else f"{rounded} %"


def _term(term: dict) -> str:
    named = {
        "words": f'"{term["value"]}"',
        "photo": "the photo",
        "image": f"photo {term['value']}",
        "caption": f"caption {term['value']}",
    }[term["kind"]]
    size = f"{abs(term['weight']):g}"
    return ("without " if term["weight"] < 0 else "") + (f"{size} x " if size != "1" else "") + named


def _best_first(hit: dict) -> list[dict]:
    """The captions of a hit, the best one first."""
    return sorted(hit.get("captions", []), key=lambda caption: caption["id"] != hit["best_caption"])


def _shade(value: float) -> str:
    return SHADES[min(int(value * len(SHADES)), len(SHADES) - 1)]


def _cut(name: str, width: int) -> str:
    """Cut or pad a name to `width` columns, of which at least one is blank."""
    while _columns(name) >= width:
        name = name[:-1]
    return name + " " * (width - _columns(name))


def _columns(text: str) -> int:
    """The width of a text in a terminal, where a Chinese character takes two columns."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def _lexical(hit: dict) -> str:
    return "" if hit["lexical_rank"] is None else f"  by words rank {hit['lexical_rank']}"


def _match(hit: dict) -> str:
    if hit["match_logit"] is None:
        return ""
    logit = f"{hit['match_logit']:.2f}"
    match = logit if hit["match_probability"] is None else f"{percent(hit['match_probability'])} ({logit})"
    return f"  match {match}" + (f"  as a hub {-hit['hub_cost']:+.3f}" if hit["hub_cost"] else "")


def _with_interval(value: float, interval: list[float]) -> str:
    low, high = interval
    return f"{value:.1f} ({low:.0f}-{high:.0f})"


def _unanswerable_lines(rows: list[dict]) -> Iterator[str]:
    if not rows:
        return
    yield 'Telling "nothing found", photos in the index against photos left out (AUC 0.5 is chance, 1 perfect):'
    for row in rows:
        low, high = row["auc_ci"]
        yield (
            f"  {row['language']:5} {row['rerank']:6}  AUC {row['auc']:.3f} ({low:.3f}-{high:.3f})  "
            f"{row['present']} present, {row['absent']} absent"
        )
        for side in ("present", "absent"):
            shares = row[f"{side}_shares"]
            if shares is not None:
                yield f"    {side:7} " + ", ".join(f"{word} {shares[word]:.1f} %" for word in WORDS)
