"""From a query to ranked, explained hits; and how well that works."""

from .engine import Engine
from .errors import BadQuery, BadTerm, EmptyQuery, SearchError, StaleIndex, UnreadablePhoto
from .query import Query
from .result import SearchResult

__all__ = [
    "BadQuery",
    "BadTerm",
    "EmptyQuery",
    "Engine",
    "Query",
    "SearchError",
    "SearchResult",
    "StaleIndex",
    "UnreadablePhoto",
]
