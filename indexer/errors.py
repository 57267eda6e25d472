"""Errors of the indexer. A message is one line for people: what is wrong. `indexer.hints.HINTS` says what to do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path

FORMATS = ("coco", "manifest", "folder", "regions", "webdataset")


class IndexerError(Exception):
    """Base of every error of this room.

    Attributes:
        other_format: of a source that can't be opened, the format in which it might be; None if there is none.
    """

    other_format: str | None = None


class MissingSource(IndexerError):
    """The source does not exist, or may not be read."""

    def __init__(self, path: Path, problem: str = "does not exist"):
        self.path, self.problem = path, problem
        super().__init__(f"The source {path} {problem}")


class MissingGallery(IndexerError):
    """The package that contains the sample gallery isn't installed."""

    def __init__(self):
        super().__init__("The sample gallery comes inside scikit-image: run `pip install -r requirements.txt`")


class PhotosGone(IndexerError):
    """None of the photos can be read, and the captioner needs them: what is stored of them is of another encoder."""

    def __init__(self, name: str, count: int, problem: str):
        self.name, self.count, self.problem = name, count, problem
        super().__init__(
            f"None of {count} photos of collection {name!r} can be read, and the captioner doesn't read what is stored of them "
            f"({problem})"
        )


class MissingTextRecognition(IndexerError):
    """The package that reads text in photos isn't installed, or can't be loaded. `problem` is what the import says."""

    def __init__(self, problem: str):
        self.problem = problem
        super().__init__(f"The text in photos can't be read ({problem}): run `pip install -r requirements.txt`")


class EmptySource(IndexerError):
    """The source holds no photo. `wanted` says what it should hold, `found` what it holds instead."""

    def __init__(self, path: Path, wanted: str, found: str = ""):
        self.path, self.wanted, self.found = path, wanted, found
        instead = f" (but {found})" if found else ""
        super().__init__(f"The source {path} holds no photo{instead}: put {wanted} there, or name another source")


class UnknownFormat(IndexerError):
    """The format does not exist, or the source isn't in it."""

    def __init__(self, path: Path, problem: str, remedy: str | None = None):
        """`remedy` says what to do, where that is not to name another format."""
        self.path, self.problem, self.remedy = path, problem, remedy
        super().__init__(f"Can't read the source {path}: {problem}")


class BadPattern(IndexerError):
    """A pattern of what is to be left out has a syntax error."""

    def __init__(self, pattern: str):
        self.pattern = pattern
        super().__init__(f"{pattern!r} is no pattern in gitignore's syntax, such as *.bak or /old/")


class AmbiguousSource(IndexerError):
    """A folder holds several manifests, none of them with a usual name. `names` are the manifests' file names."""

    def __init__(self, path: Path, names: list[str]):
        self.path, self.names = path, names
        super().__init__(f"The folder {path} holds {len(names)} manifests ({', '.join(names)})")


class BadManifestLine(IndexerError):
    """No record of a manifest can be used, and nothing was indexed. `number` is that of the first record, from 1."""

    def __init__(self, path: Path, number: int, problem: str, kind: str = "line"):
        self.path, self.number, self.problem, self.kind = path, number, problem, kind
        super().__init__(f"{path}, {kind} {number}: {problem}; mend that {kind} and run again (nothing was indexed)")


class BadAnnotations(IndexerError):
    """A COCO annotation file can't be used, and nothing was indexed."""

    def __init__(self, path: Path, problem: str):
        self.path, self.problem = path, problem
        self.sentence = f"{path}: {problem}; mend or remove that file and run again."
        super().__init__(f"{self.sentence[:-1]} (nothing was indexed)")


class UnknownColumns(IndexerError):
    """It can't be told which columns of a table of captions name photos and hold captions. The columns asked for are given."""

    def __init__(self, path: Path, image: str | None = None, caption: str | None = None):
        self.path, self.image, self.caption = path, image, caption
        wanted = " and ".join(repr(one) for one in (image, caption) if one) or "a photo's name and a caption"
        super().__init__(f"{path} is no table with columns of {wanted}")


class UnknownSplit(IndexerError):
    """No photo is in the split `name`; `there` has the number of photos of each split that there is."""

    def __init__(self, name: str, there: Mapping[str, int]):
        self.name, self.there = name, dict(there)
        what = f"the splits are {splits_named(there)}" if there else "its records name none"
        super().__init__(f"The source has no split '{name}' ({what})")


class SeveralSplits(IndexerError):
    """There are several splits, and it can't be told which is meant. `there` has the number of photos of each."""

    def __init__(self, there: Mapping[str, int]):
        self.there = dict(there)
        super().__init__(f"The source has several splits, {splits_named(there)}, and none is called test")


SPLITS_NAMED = 8


def splits_named(there: Mapping[str, int], names: Iterable[str] | None = None) -> str:
    """Splits with their numbers of photos, such as "train (6,000), val (1,000)"; all of `there`, or only `names`."""
    chosen = list(there if names is None else names)
    more = [f"and {len(chosen) - SPLITS_NAMED} more"] if len(chosen) > SPLITS_NAMED else []
    return ", ".join([*(f"{name} ({there[name]:,})" for name in islice(chosen, SPLITS_NAMED)), *more])


class MismatchedLanguages(IndexerError):
    """There are neither as many languages as caption files, nor one for all. `files` and `languages` are counts."""

    def __init__(self, files: int, languages: int):
        self.files, self.languages = files, languages
        super().__init__(f"There are {files} caption files and {languages} languages")


class DownloadFailed(IndexerError):
    """A file can't be fetched, or can't be written. `target` is its URL or its folder."""

    def __init__(self, target: str | Path, problem: str, remedy: str = "check the connection"):
        self.target, self.problem, self.remedy = target, problem, remedy
        super().__init__(f"{target} can't be downloaded ({problem}): {remedy}, then run the same command to go on")


class UnusableArchive(IndexerError):
    """An archive was fetched, and its content isn't what it should be."""

    def __init__(self, name: str, problem: str):
        self.name, self.problem = name, problem
        super().__init__(f"{name} can't be used: {problem}; run the same command to fetch it anew")


class WrongModel(IndexerError):
    """The model can read nothing in the source."""

    def __init__(self, root: Path, has: str, reads: str, remedy: str):
        self.root, self.has, self.reads, self.remedy = root, has, reads, remedy
        super().__init__(f"The source {root} has {has} only, and the model reads {reads}: {remedy} (nothing was indexed)")


class WorkersUnavailable(IndexerError):
    """Worker processes don't start."""

    def __init__(self):
        super().__init__(
            "Worker processes don't start here: call build_index under `if __name__ == '__main__':`, or with workers=0"
        )


class MostVanished(IndexerError):
    """More than half of a source's photos are gone, and nothing was published.

    Attributes:
        root: the source.
        gone: how many of its photos are gone.
        known: how many the collection has from it.
    """

    def __init__(self, root: str, gone: int, known: int):
        self.root, self.gone, self.known = root, gone, known
        super().__init__(
            f"{gone} of the {known} photos that the collection has from {root} are gone "
            "(nothing was published, what was encoded is kept)"
        )


class MissingPhoto(IndexerError):
    """A photo that was given by its path does not exist, and nothing was added."""

    def __init__(self, path: str):
        self.path = path
        super().__init__(f"There is no file {path}: check the path (nothing was added)")
