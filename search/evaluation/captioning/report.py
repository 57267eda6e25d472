"""Format a measurement of written captions as lines of text."""

from __future__ import annotations

from collections.abc import Iterator

from search.evaluation.captioning.measure import SHARES

_SHOWN = "BLEU-1", "BLEU-4", "ROUGE-L", "CIDEr"
_HEADS = {"repeats": "repeat a word", "names_things": "name a thing", "hallucinates": "name one not there"}


def captioning_lines(report: dict) -> Iterator[str]:
    """Format what `evaluate_captions` returned."""
    yield f"{report['images']} images; each figure times 100, with its 95 % interval over photos"
    yield f"{'lang':5} {'tokens':10} {'photos':>6} {'people':>6} " + " ".join(f"{name:>18}" for name in _SHOWN)
    for row in report["results"]:
        figures = " ".join(f"{_with_interval(row, name):>18}" for name in _SHOWN)
        yield f"{row['language']:5} {row['tokens']:10} {row['images']:6} {row['references']:6} {figures}"
    yield "of the written captions: how many, how many different ones, their mean length, and what share of them does what (%)"
    yield (
        f"{'lang':5} {'written':>7} {'empty':>6} {'distinct':>8} {'length':>16} "
        + " ".join(f"{_HEADS[name]:>18}" for name in SHARES)
    )
    for row in report["wording"]:
        length = f"{row['mean_length']:.1f} {row['length_in']}"
        shares = " ".join(f"{_with_interval(row, name):>18}" for name in SHARES)
        yield f"{row['language']:5} {row['captions']:7} {row['empty']:6} {row['distinct']:8} {length:>16} {shares}"
    yield from report["notices"]


def _with_interval(row: dict, name: str) -> str:
    low, high = row[f"{name}_ci"]
    return f"{row[name]:.1f} ({low:.1f}-{high:.1f})"
