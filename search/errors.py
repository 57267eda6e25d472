"""What can go wrong with a query: each message is the one line that a person reads."""

from __future__ import annotations

from urllib.parse import urlsplit

from encoder.errors import EncoderError
from storage.errors import StorageError, excerpt


class SearchError(Exception):
    """A query that can't be answered."""


class BadQuery(SearchError):
    """A query that asks for something that can't be."""


class EmptyQuery(BadQuery):
    """A query with nothing in it."""


class BadTerm(BadQuery):
    """A query whose signs can't be read; `at` is the place, counted from 0."""

    def __init__(self, text: str, at: int, problem: str) -> None:
        self.at = at
        super().__init__(f"The query can't be read at character {at + 1} ({excerpt(text, at)}): {problem}.")


class TermsCancelOut(BadQuery):
    """Terms whose weighted sum is nothing, such as `dog -dog`."""

    def __init__(self) -> None:
        super().__init__("The parts of the query cancel each other out: give them other weights, or leave one out.")


class BadCursor(BadQuery):
    """A cursor that can't be read, or that belongs to another question."""


class OutdatedCursor(BadQuery):
    """A cursor of a version that is no longer searched."""

    def __init__(self, version: int, now: int) -> None:
        super().__init__(
            f"The cursor is of version {version} of the collection, and version {now} is searched now: begin again without it."
        )


class NothingToExplain(BadQuery):
    """A question without a sentence that the cross-modal encoder reads with a photo."""

    def __init__(self) -> None:
        super().__init__("Only a sentence can be shown in a photo: ask for photos, with words to look for.")


class NoHeatMap(BadQuery):
    """A model that can't say where in a photo it looks."""


class NothingToMeasure(BadQuery):
    """An evaluation without a single caption in the languages that were asked for."""


class BadRun(BadQuery):
    """A run or qrels file that can't be read."""

    def __init__(self, path, line: int | None, problem: str) -> None:
        place = "" if line is None else f", line {line}"
        super().__init__(f"{path}{place}: {problem}; take files that `evaluate --run FILE --qrels FILE` wrote.")


class UnwritableFile(BadQuery):
    """A file that can't be written where it was asked for."""

    def __init__(self, path, problem: str) -> None:
        super().__init__(f"Can't write {path} ({problem}): name another place.")


class TooFewForProtocol(BadQuery):
    """A protocol that needs more photos than there are."""

    def __init__(self, name: str, needed: int, there: int) -> None:
        super().__init__(f"The protocol {name} needs {needed} photos, and there are {there}: measure with --protocol all.")


class TooFewPhotos(BadQuery):
    """More photos were to be left out than there are to choose from."""

    def __init__(self, count: int, language: str, captioned: int) -> None:
        remedy = f"--absent {captioned // 2} is the most" if captioned > 1 else "do without --absent"
        super().__init__(
            f"Leaving out {count} photos, with as many that stay, needs {2 * count} with captions in "
            f"{language}, and there are {captioned}: {remedy}."
        )


class UnreadablePhoto(BadQuery):
    """The photo that was to be searched with can't be read."""


class StaleIndex(SearchError):
    """The index was made by other weights than the ones that are loaded.

    `made_by` and `in_use` are fingerprints; that of a re-ranker stands behind a plus sign. `options` choose the former.
    """

    def __init__(self, made_by: str, in_use: str, options: str | None = None) -> None:
        self.made_by, self.in_use = made_by, in_use
        reranked, reranks = "+" in made_by, "+" in in_use
        choose = f"choose them with {options}" if options else "choose their model with --model"
        if reranked and not options:
            choose += " and their re-ranker with --reranker"
        elif reranks and not reranked:
            choose += " and no --reranker"
        super().__init__(
            f"The index was made by the weights {made_by}, and those in use are {in_use}: {choose}, or run "
            "`python manage.py build-index SOURCE --rebuild` to move it to those in use."
        )


class Unreachable(SearchError):
    """A server that can't be asked."""

    def __init__(self, server: str, problem: str) -> None:
        super().__init__(f"Can't ask {server} ({problem}): check the address, and that `python manage.py serve` runs there.")


class Redirected(SearchError):
    """A server that sends who asks it on to another one, which must not get the token or the photo."""

    def __init__(self, asked: str, other: str) -> None:
        first, second = (f"{parts.scheme}://{parts.netloc}" for parts in map(urlsplit, (asked, other)))
        super().__init__(
            f"{first} sends the question on to {second}, which was not asked for: give that address "
            "with --server if it is yours."
        )


class ServerRefused(SearchError):
    """What a server said that did not answer; the message is its own."""


class BadTranslator(SearchError):
    """PANOPTES_TRANSLATOR names nothing that can be called."""

    def __init__(self, setting: str, problem: str) -> None:
        super().__init__(f"PANOPTES_TRANSLATOR is {setting!r}, and {problem}: set it to module:callable, or to nothing.")


HOUSE_ERRORS = (SearchError, StorageError, EncoderError)
"""Every error below this room whose text is meant for a person."""
