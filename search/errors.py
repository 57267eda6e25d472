"""What can go wrong with a query: each message is the one line that a person reads."""

from encoder.errors import EncoderError
from storage.errors import StorageError


class SearchError(Exception):
    """A query that can't be answered."""


class BadQuery(SearchError):
    """A query that asks for something that can't be."""


class EmptyQuery(BadQuery):
    """A query with nothing in it."""


class NothingToMeasure(BadQuery):
    """An evaluation without a single caption in the languages that were asked for."""


class UnreadablePhoto(BadQuery):
    """The photo that was to be searched with can't be read."""


class StaleIndex(SearchError):
    """The index was made by other weights than the ones that are loaded."""


HOUSE_ERRORS = (SearchError, StorageError, EncoderError)
"""Every error below this room whose text is meant for a person."""
