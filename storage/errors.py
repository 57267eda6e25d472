"""Errors on disk and in the catalog. A message is one line for people: what is wrong.

The facts of an error are its attributes; they have the names of the parameters that it is made with. What to do is said where
it is shown: `storage.hints.HINTS` for the command line, `web.hints.HINTS` for the page.
"""

from __future__ import annotations

from pathlib import Path


class StorageError(Exception):
    """Base of every error of this room."""


class InvalidName(StorageError):
    """A collection's name that can't be a folder's name on every system."""

    def __init__(self, name: str):
        self.name = name
        super().__init__(
            f"{name!r} can't be a collection's name: use letters, digits, '-', '_' and '.', at most 64, "
            "beginning with a letter or a digit"
        )


class UnusableHome(StorageError):
    """A folder, such as the home, can't be written to."""

    def __init__(self, path: Path, problem: str):
        self.path, self.problem = path, problem
        super().__init__(f"Can't write to {path} ({problem})")


def unusable(path: Path, error: OSError) -> UnusableHome:
    """The error to raise when the system refuses to write."""
    return UnusableHome(path, error.strerror or str(error))


class UnknownCollection(StorageError):
    """No collection of that name exists in this home."""

    def __init__(self, name: str, existing: list[str]):
        self.name, self.existing = name, existing
        known = f"there are {', '.join(existing)}" if existing else "there is none yet"
        super().__init__(f"No collection {name!r} here ({known})")


class EmptyCollection(StorageError):
    """The collection exists, and nothing was published in it."""

    def __init__(self, name: str):
        self.name = name
        super().__init__(f"Nothing is indexed in collection {name!r} yet")


class OutdatedDiagnosis(StorageError):
    """Another version was published while one was examined."""

    def __init__(self, name: str, examined: int, published: int):
        self.name, self.examined, self.published = name, examined, published
        super().__init__(
            f"Version {published} of collection {name!r} was published while version {examined} was examined: examine it anew"
        )


class CollectionBusy(StorageError):
    """Another process is writing to the collection."""

    def __init__(self, name: str, holder: str):
        """`holder` is the id of that process, or empty if it is not known."""
        self.name, self.holder = name, holder
        who = f" (process {holder})" if holder else ""
        super().__init__(
            f"Collection {name!r} is being written by another command{who}: wait for it to end, then run this one again"
        )


class UnfinishedRun(StorageError):
    """An index run was interrupted, and the command would drop what it had encoded."""

    def __init__(self, name: str, images: int):
        self.name, self.images = name, images
        super().__init__(f"An index run of collection {name!r} was interrupted with {images} photos encoded and not published")


class UnknownVersion(StorageError):
    """A version that is not kept."""

    def __init__(self, version: int, kept: list[int]):
        self.version, self.kept = version, kept
        known = f"there are {', '.join(map(str, kept))}" if kept else "no old version is kept"
        super().__init__(f"Can't go back to version {version} ({known})")


class NoSuchSource(StorageError):
    """Nothing in the collection came from that source."""

    def __init__(self, name: str, source: str, known: list[str]):
        self.name, self.source, self.known = name, source, known
        there = f"there are {', '.join(known)}" if known else "there is none yet"
        super().__init__(f"Collection {name!r} has no source {source} ({there})")


class UnknownRun(StorageError):
    """An index run that is not in the catalog."""

    def __init__(self, name: str, run_id: int):
        self.name, self.run_id = name, run_id
        super().__init__(f"Collection {name!r} has no index run {run_id}: take an id from the list of its runs")


class OtherWeights(StorageError):
    """The collection's vectors were made by other weights than the encoder's."""

    def __init__(self, name: str, indexed: str, current: str):
        """`indexed` and `current` are fingerprints."""
        self.name, self.indexed, self.current = name, indexed, current
        super().__init__(f"Collection {name!r} was indexed by other weights ({indexed}) than these ({current})")


class BrokenManifest(StorageError):
    """A manifest that can't be read, or is no manifest."""

    def __init__(self, path: Path, problem: str):
        self.path, self.problem = path, problem
        super().__init__(f"The manifest {path} is damaged ({problem})")


class BrokenSegment(StorageError):
    """A segment whose files are missing, cut short, or disagree with each other."""

    def __init__(self, path: Path, problem: str):
        self.path, self.problem = path, problem
        super().__init__(f"The segment {path} is damaged ({problem})")


class UnreadableSegment(StorageError):
    """A segment that the system refuses to read at the moment; it may be whole."""

    def __init__(self, path: Path, problem: str):
        self.path, self.problem = path, problem
        super().__init__(f"The segment {path} can't be read ({problem}): mend that, then run the same command again")


class BrokenIndex(StorageError):
    """An index file that is missing or can't be read."""

    def __init__(self, path: Path, problem: str):
        self.path, self.problem = path, problem
        super().__init__(f"The index {path} is damaged ({problem})")


class BrokenTexts(StorageError):
    """A file of texts read in photos that is missing or can't be read."""

    def __init__(self, path: Path, problem: str):
        self.path, self.problem = path, problem
        super().__init__(f"The texts of photos {path} are damaged ({problem})")


class UnknownId(StorageError):
    """An id that this version of the collection doesn't hold."""

    def __init__(self, kind: str, missing: int):
        """`kind` is "image" or "caption", `missing` the id."""
        self.kind, self.missing = kind, missing
        super().__init__(f"No {kind} has the id {missing} in this collection")


class WrongShape(StorageError, ValueError):
    """Arrays that don't fit the collection or each other: a mistake in the calling code, never of the user."""


class CatalogError(StorageError):
    """The catalog's database refused."""

    def __init__(self, url: str, problem: str):
        self.url, self.problem = url, problem
        super().__init__(f"The catalog {url} can't be used ({problem})")


class BadFilter(StorageError):
    """A filter that can't be read or doesn't fit the columns."""

    def __init__(self, text: str, at: int, problem: str) -> None:
        """`text` is the filter, `at` a position in it, counted from 0."""
        self.text, self.at, self.problem = text, at, problem
        super().__init__(f"The filter can't be used at character {at + 1} ({excerpt(text, at)}): {problem}.")


def excerpt(text: str, at: int) -> str:
    """The beginning of what stands at a position, on one line."""
    rest = " ".join(text[at:].split())
    return repr(rest if len(rest) <= 24 else rest[:21] + "...") if rest else "its end"
