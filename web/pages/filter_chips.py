"""A filter as chips: its parts that all have to hold, each of which can be taken out, and parts worth adding."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from storage.errors import BadFilter
from storage.filtering.grammar import parse_filter

_TOKEN = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]+`|[()]|\b(?:and|or)\b|.""", re.IGNORECASE | re.DOTALL)
SUGGESTED = (
    ("landscape", "width > height"),
    ("portrait", "height > width"),
    ("large", "width >= 1000"),
    ("with_language_en", "language = 'en'"),
    ("with_language_zh", "language = 'zh'"),
)


@dataclass(frozen=True)
class Chip:
    """One part of a filter, and the filter without it; None where nothing is left."""

    text: str
    without: str | None


def chips(where: str | None) -> list[Chip]:
    """The parts of a filter that can be read."""
    parts = conjuncts(where) if where else []
    return [Chip(part, joined(parts[:i] + parts[i + 1 :])) for i, part in enumerate(parts)]


def conjuncts(where: str) -> list[str]:
    """The texts that the outermost `and`s stand between; the whole where an `or` is outermost."""
    parts, depth = [""], 0
    for token in _TOKEN.findall(where):
        depth += {"(": 1, ")": -1}.get(token, 0)
        if depth == 0 and token.lower() == "or":
            return [where.strip()]
        if depth == 0 and token.lower() == "and":
            parts.append("")
        else:
            parts[-1] += token
    return [part.strip() for part in parts]


def joined(parts: Sequence[str]) -> str | None:
    """One filter of several that all have to hold; None of none."""
    if len(parts) == 1:
        return parts[0]
    return " and ".join(part if _holds_together(part) else f"({part})" for part in parts) or None


def suggestions(where: str | None) -> list[tuple[str, str]]:
    """(phrase, filter with that part added) for each suggested part that isn't there yet."""
    parts = conjuncts(where) if where else []
    return [(phrase, joined([*parts, part])) for phrase, part in SUGGESTED if part not in parts]


def _holds_together(part: str) -> bool:
    try:
        return parse_filter(f"{part} and id = 0").parts[-1].column.name == "id"
    except (BadFilter, AttributeError):
        return False
