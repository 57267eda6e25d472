"""A filter as chips: the parts that are joined by `and`, each of which can be taken out, and parts to add."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from storage.errors import BadFilter
from storage.filtering.grammar import BoolOp, Compare, In, IsNull, Match, parse_filter

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
    """One part of a filter, and the filter without it (None: nothing is left)."""

    text: str
    without: str | None


def chips(where: str | None) -> list[Chip]:
    """The chips of a filter that can be parsed."""
    parts = conjuncts(where) if where else []
    return [Chip(part, joined(parts[:i] + parts[i + 1 :])) for i, part in enumerate(parts)]


def conjuncts(where: str) -> list[str]:
    """The texts between the outermost `and`s; the whole filter if an `or` is outermost."""
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
    """One filter that holds if all parts hold; None if there are no parts."""
    return _all_of(parts) if parts else None


def suggestions(where: str | None) -> list[tuple[str, str]]:
    """(key of the phrase, filter with that part added) for each suggested part that isn't in the filter."""
    parts = conjuncts(where) if where else []
    return [(phrase, _all_of([*parts, part])) for phrase, part in SUGGESTED if part not in parts]


def _all_of(parts: Sequence[str]) -> str:
    if len(parts) == 1:
        return parts[0]
    return " and ".join(part if _binds_tighter_than_and(part) else f"({part})" for part in parts)


def _binds_tighter_than_and(part: str) -> bool:
    """True if the part means the same without parentheses before an `and`."""
    try:
        whole = parse_filter(f"{part} and id = 0")
    except BadFilter:
        return False
    last = whole.parts[-1] if isinstance(whole, BoolOp) else None
    return isinstance(last, Compare | In | Match | IsNull) and last.column.name == "id"
