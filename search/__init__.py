"""From a query to ranked, explained hits; and how good the ranking is."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from search.engine import Engine
    from search.errors import BadQuery, BadTerm, EmptyQuery, SearchError, StaleIndex, UnreadablePhoto
    from search.explanation import Explanation
    from search.query.query import Query
    from search.result import SearchResult

__all__ = [
    "BadQuery",
    "BadTerm",
    "EmptyQuery",
    "Engine",
    "Explanation",
    "Query",
    "SearchError",
    "SearchResult",
    "StaleIndex",
    "UnreadablePhoto",
]

_MODULES = {
    "BadQuery": "search.errors",
    "BadTerm": "search.errors",
    "EmptyQuery": "search.errors",
    "Engine": "search.engine",
    "Explanation": "search.explanation",
    "Query": "search.query.query",
    "SearchError": "search.errors",
    "SearchResult": "search.result",
    "StaleIndex": "search.errors",
    "UnreadablePhoto": "search.errors",
}


def __getattr__(name: str) -> object:
    """Import on first use: `--help` and worker processes must start fast."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_MODULES[name]), name)
