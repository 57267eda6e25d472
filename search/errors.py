"""The errors of this room: each message is one line for a person."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from encoder.errors import EncoderError
from storage.errors import StorageError, excerpt


class SearchError(Exception):
    """A query can't be answered."""


class BadQuery(SearchError):
    """A query asks for something impossible."""


class EmptyQuery(BadQuery):
    """A query is empty."""


class BadTerm(BadQuery):
    """The signs of a query can't be parsed; `at` is the position of the problem, counted from 0."""

    def __init__(self, text: str, at: int, problem: str) -> None:
        self.at = at
        super().__init__(f"The query can't be read at character {at + 1} ({excerpt(text, at)}): {problem}.")


class TermsCancelOut(BadQuery):
    """The weighted sum of the terms is 0, as in `dog -dog`."""

    def __init__(self) -> None:
        super().__init__("The parts of the query cancel each other out: give them other weights, or leave one out.")


class BadCursor(BadQuery):
    """A cursor can't be read, or belongs to another query."""


class OutdatedCursor(BadQuery):
    """A cursor belongs to `version`, and `now` is the version that is searched."""

    def __init__(self, version: int, now: int) -> None:
        self.version, self.now = version, now
        super().__init__(
            f"The cursor is of version {version} of the collection, and version {now} is searched now: begin again without it."
        )


class NothingToExplain(BadQuery):
    """A query has no sentence that the cross-modal encoder could read with a photo."""

    def __init__(self) -> None:
        super().__init__("Only a sentence can be shown in a photo: ask for photos, with words to look for.")


class NoHeatMap(BadQuery):
    """The model can't say where in a photo it looks."""


class NothingToMeasure(BadQuery):
    """There is nothing to measure: no caption in these languages, or no judgement."""


class BadRun(BadQuery):
    """A run or qrels file can't be read; `line` counts from 1, and is None for the whole file."""

    def __init__(self, path: Path, line: int | None, problem: str) -> None:
        self.path, self.line, self.problem = path, line, problem
        position = "" if line is None else f", line {line}"
        super().__init__(f"{path}{position}: {problem}")


class BadCaptionsFile(BadQuery):
    """A file of written captions can't be used; `entry` counts from 1, and is None for the whole file."""

    def __init__(self, path: Path, entry: int | None, problem: str) -> None:
        self.path, self.entry, self.problem = path, entry, problem
        position = "" if entry is None else f", entry {entry}"
        super().__init__(f"{path}{position}: {problem}")


class UnwritableFile(BadQuery):
    """A file can't be written."""

    def __init__(self, path: Path, problem: str) -> None:
        self.path, self.problem = path, problem
        super().__init__(f"Can't write {path} ({problem}): name another place.")


class TooFewForProtocol(BadQuery):
    """The protocol `name` needs more photos than there are."""

    def __init__(self, name: str, needed: int, there: int) -> None:
        self.name, self.needed, self.there = name, needed, there
        super().__init__(f"The protocol {name} needs {needed} photos, and there are {there}")


class TooFewPhotos(BadQuery):
    """`count` photos can't be left out, because only `captioned` have captions in this language."""

    def __init__(self, count: int, language: str, captioned: int) -> None:
        self.count, self.language, self.captioned = count, language, captioned
        super().__init__(
            f"Leaving out {count} photos, with as many that stay, needs {2 * count} with captions in "
            f"{language}, and there are {captioned}"
        )


class UnreadablePhoto(BadQuery):
    """The photo of a query can't be read."""


class StaleIndex(SearchError):
    """The index was made by other weights than those that are loaded.

    Attributes:
        made_by: the fingerprint of the index; that of a re-ranker follows a plus sign.
        in_use: the fingerprint of the loaded weights.
        options: the command-line options that choose the weights of the index, if they are known.
    """

    def __init__(self, made_by: str, in_use: str, options: str | None = None) -> None:
        self.made_by, self.in_use, self.options = made_by, in_use, options
        super().__init__(f"The index was made by the weights {made_by}, and those in use are {in_use}")


class Unreachable(SearchError):
    """A server can't be reached, or is not one of ours."""

    def __init__(self, server: str, problem: str) -> None:
        self.server, self.problem = server, problem
        super().__init__(f"Can't ask {server} ({problem})")


class ProxyReadsToken(SearchError):
    """A token would be sent to a server by plain HTTP through a proxy, which could read it. `proxy` has no password."""

    def __init__(self, server: str, proxy: str) -> None:
        self.server, self.proxy = server, proxy
        super().__init__(f"The token is not sent to {server}, for the proxy {proxy} on the way could read it")


class Redirected(SearchError):
    """A server redirects to another one, which must not get the token or the photo."""

    def __init__(self, server: str, other: str) -> None:
        self.server, self.other = server, other
        first, second = (f"{parts.scheme}://{parts.netloc}" for parts in map(urlsplit, (server, other)))
        super().__init__(f"{first} sends the question on to {second}, which was not asked for")


class ServerRefused(SearchError):
    """A server refused a query; the message is the server's own."""


class BadTranslator(SearchError):
    """PANOPTES_TRANSLATOR names nothing that can be called."""

    def __init__(self, setting: str, problem: str) -> None:
        self.setting, self.problem = setting, problem
        super().__init__(f"PANOPTES_TRANSLATOR is {setting!r}, and {problem}: set it to module:callable, or to nothing.")


HOUSE_ERRORS = (SearchError, StorageError, EncoderError)
"""The base classes of all errors of this room and those below it, whose messages are meant for a person."""
