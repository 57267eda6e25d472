"""The errors of the page and the API, and the HTTP status of every error whose text is for people.

The API's document has the first lines of the docstrings, and programs tell errors by the names of the classes.
"""

from __future__ import annotations

import re

from encoder.errors import UnwrittenLanguage
from search import BadQuery, StaleIndex
from search.errors import HOUSE_ERRORS, OutdatedCursor
from storage.errors import (
    BadFilter,
    CollectionBusy,
    EmptyCollection,
    InvalidName,
    OtherWeights,
    UnfinishedRun,
    UnknownCollection,
    UnknownId,
    UnknownRun,
    UnusableHome,
)


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


class Busy(WebError):
    """More ask at once than can be answered soon, or than this machine has room for."""

    status = 503

    def __init__(self, message: str = "Too many are asking at once: try again in a few seconds.") -> None:
        super().__init__(message)


class Unauthorized(WebError):
    """A request without a token, where one is needed."""

    status = 401

    def __init__(self) -> None:
        super().__init__(
            "This server needs a token: send it as `Authorization: Bearer TOKEN`, or in a browser as the password."
        )


class NotAllowed(WebError):
    """A request that the token for reading is not good for."""

    status = 403

    def __init__(self) -> None:
        super().__init__("The token is for reading only: sending photos, and changing the collection, need the other one.")


class CrossSite(WebError):
    """A request that a page elsewhere had a browser send."""

    status = 403

    def __init__(self) -> None:
        super().__init__("Nothing may be sent here from another site's page.")


class WrongHost(WebError):
    """A request to a name that this machine does not go by."""

    status = 421

    def __init__(self) -> None:
        super().__init__(
            "This server answers to localhost and 127.0.0.1 only: use one of these in the address, or set PANOPTES_TOKEN."
        )


class ReadOnly(WebError):
    """A change, where the server was given nothing to make it with."""

    status = 403

    def __init__(self) -> None:
        super().__init__("This server changes nothing: start it with `python manage.py serve` and without --read-only.")


class NoCaptioner(WebError):
    """A caption to be written, where no model is there that writes."""

    status = 403

    def __init__(self, problem: str = "") -> None:
        super().__init__("This server has no model that writes captions" + (f" ({problem})." if problem else "."))


class NotAdded(WebError):
    """A photo that was read and that the collection can't take; the message is the indexer's own."""

    status = 400


class UnknownSource(WebError):
    """A source that no index run of the collection began with."""

    status = 422

    def __init__(self, name: str, source: str, known: list[str]) -> None:
        self.name, self.source, self.known = name, source, known
        built = f"it was built from {', '.join(known)}" if known else "none is known"
        super().__init__(
            f"Collection {name!r} was never built from {_one_line(source)} ({_one_line(built, 500)}): name one of its "
            "sources, or run `python manage.py build-index SOURCE` where the server runs."
        )


class BuildRunning(WebError):
    """A second build, while one that this server has begun goes on."""

    status = 409

    def __init__(self, name: str, run_id: int) -> None:
        self.name, self.run_id = name, run_id
        super().__init__(f"Collection {name!r} is being built by run {run_id}: wait for it to end, or cancel it.")


class NotOurBuild(WebError):
    """A build to be cancelled that another process began, or one that died."""

    status = 409

    def __init__(self, run_id: int) -> None:
        self.run_id = run_id
        super().__init__(f"Run {run_id} was not begun by this server: end it where it was begun.")


class BuildEnded(WebError):
    """A build to be cancelled that goes on no more."""

    status = 409

    def __init__(self, run_id: int, state: str) -> None:
        self.run_id, self.state = run_id, state
        super().__init__(f"Run {run_id} has ended ({state}): there is nothing to cancel.")


class PortTaken(WebError):
    """The server can't listen where it was told to."""


class Unguarded(WebError):
    """The server would be open to other machines without a token."""


class BadToken(WebError):
    """A token in the environment that is not safe to use."""


KNOWN_ERRORS = (WebError, *HOUSE_ERRORS)
"""Every error whose text may be shown. All others are faults of ours, and their text stays in the log."""

_STATUSES = (
    (OutdatedCursor, 410), (BadQuery, 400), (BadFilter, 400), (UnwrittenLanguage, 400),
    (UnknownId, 404), (UnknownCollection, 404), (EmptyCollection, 404),
    (InvalidName, 404), (UnknownRun, 404), (CollectionBusy, 409), (UnfinishedRun, 409), (StaleIndex, 503), (OtherWeights, 503),
    (UnusableHome, 507),
)  # fmt: skip


def status_of(kind: type[Exception]) -> int:
    """The HTTP status of a class of errors; 500 if it has none."""
    if issubclass(kind, WebError):
        return kind.status
    return next((status for known, status in _STATUSES if issubclass(kind, known)), 500)


def _one_line(text: str, most: int = 200) -> str:
    """Text of a request or of a disk, on one line and of `most` characters."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[:most]}..."


def code_of(error: Exception) -> str:
    """The code by which programs tell an error: "outdated-cursor" for OutdatedCursor."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", type(error).__name__).lower()
