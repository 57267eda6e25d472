"""What can go wrong between a browser and a search, and the HTTP status of every error that is meant for a person."""

from search import BadQuery, StaleIndex
from search.errors import HOUSE_ERRORS, OutdatedCursor
from storage.errors import EmptyCollection, UnknownCollection, UnknownId


class WebError(Exception):
    """A request that can't be answered; `status` is its HTTP status."""

    status = 500


class BadParameter(WebError):
    """A parameter that is not what it must be."""

    status = 400


class NotKept(WebError):
    """Something that was here once: an uploaded photo, a file that has been moved."""

    status = 404


class TooLarge(WebError):
    """An upload beyond the limit."""

    status = 413


class ModelLoading(WebError):
    """The model is not ready yet."""

    status = 503


class ModelFailed(WebError):
    """The model could not be loaded; the message is the loader's own."""

    status = 503


class PortTaken(WebError):
    """The server can't listen where it was told to."""


KNOWN_ERRORS = (WebError, *HOUSE_ERRORS)
"""Every error whose text may be shown; all others are ours and shown as none but that."""

_STATUSES = (
    (OutdatedCursor, 410), (BadQuery, 400), (UnknownId, 404), (UnknownCollection, 404), (EmptyCollection, 404),
    (StaleIndex, 503),
)  # fmt: skip


def status_of(error: Exception) -> int:
    """The HTTP status of one of KNOWN_ERRORS."""
    if isinstance(error, WebError):
        return error.status
    return next((status for kind, status in _STATUSES if isinstance(error, kind)), 500)
