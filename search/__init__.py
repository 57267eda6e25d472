"""From a query to ranked, explained hits; and how well that works."""

from .engine import Engine
from .errors import BadFilter, BadQuery, BadTerm, EmptyQuery, SearchError, StaleIndex, UnreadablePhoto
from .explaining import Explanation
from .filters import ids_where
from .query import Query
from .result import SearchResult

__all__ = [
    "BadFilter",
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
    "ids_where",
]
