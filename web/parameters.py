"""From the parameters of a request to those of a query."""

from __future__ import annotations

import re
from collections.abc import Mapping

from search.folding import SAME

from .errors import BadParameter

MOST_TOP = 500
MOST_RERANK = 256
MOST_OFFSET = 10**9
MOST_BUDGET_MS = 60_000


def search_options(values: Mapping[str, str], top: int = 10, rerank: int = 32) -> dict:
    """`to`, `top`, `rerank`, `mode`, `where`, `offset`, `cursor` and `fold` for a `search.Query`; raises BadParameter.

    Args:
        values: the request's parameters.
        top, rerank: what they are where the request does not say.
    """
    return {
        "to": values.get("to", "images"),
        "top": whole_number(values, "top", top, 1, MOST_TOP),
        "rerank": whole_number(values, "rerank", rerank, 0, MOST_RERANK),
        "mode": values.get("mode", "vector"),
        "where": values.get("where", "").strip() or None,
        "offset": whole_number(values, "offset", 0, 0, MOST_OFFSET),
        "cursor": values.get("cursor", "").strip() or None,
        "fold": _cosine(values, "fold_duplicates"),
    }


def api_options(values: Mapping[str, str]) -> dict:
    """What the page's address has, and `budget_ms`, which goes with cursors alone; raises BadParameter."""
    return search_options(values) | {"budget_ms": whole_number(values, "budget_ms", None, 0, MOST_BUDGET_MS)}


def whole_number(values: Mapping[str, str], name: str, default: int | None, least: int, most: int) -> int | None:
    """One parameter as a number from `least` to `most`; raises BadParameter."""
    raw = values.get(name, "").strip()
    if not raw:
        return default
    number = int(raw) if raw.isascii() and raw.isdigit() and len(raw) <= 19 else None
    if number is None or not least <= number <= most:
        shown = raw if len(raw) <= 40 else f"{raw[:40]}..."
        raise BadParameter(f"{name} is {shown!r}: it must be a whole number from {least} to {most}.")
    return number


def _cosine(values: Mapping[str, str], name: str) -> float | None:
    """A cosine above 0; SAME for "true", None for "false" or nothing. Raises BadParameter."""
    raw = values.get(name, "").strip().lower()
    if raw in ("", "false"):
        return None
    if raw == "true":
        return SAME
    number = float(raw) if re.fullmatch(r"[01](\.[0-9]{1,9})?", raw) else 0.0
    if not 0 < number <= 1:
        raise BadParameter(f"{name} is {raw[:40]!r}: it must be true, false, or a cosine above 0 and at most 1.")
    return number
