"""From a query to ranked, explained hits; and how well that works."""

from .engine import Engine
from .errors import BadQuery, EmptyQuery, SearchError, StaleIndex, UnreadablePhoto
from .query import Query
from .result import SearchResult

__all__ = [
    "BadQuery",
    "EmptyQuery",
    "Engine",
    "Query",
    "SearchError",
    "SearchResult",
    "StaleIndex",
    "UnreadablePhoto",
]
