"""What can be wrong with a source. Each message is the one line a person reads: what is wrong, what to do."""

from __future__ import annotations

from pathlib import Path

FORMATS = ("coco", "manifest", "folder", "regions", "webdataset")


class IndexerError(Exception):
    """Base of every error of this room."""


class MissingSource(IndexerError):
    """Nothing is where the source should be, or it may not be read."""

    def __init__(self, path: Path, problem: str = "does not exist"):
        super().__init__(
            f"The source {path} {problem}: name a folder of photos, a COCO folder, a manifest or tar shards in "
            "`python manage.py build-index SOURCE`"
        )


class MissingGallery(IndexerError):
    """The package that the sample gallery lies in isn't installed."""

    def __init__(self):
        super().__init__("The sample gallery comes inside scikit-image: run `pip install -r requirements.txt`")


class EmptySource(IndexerError):
    """The source holds no photo."""

    def __init__(self, path: Path, wanted: str):
        super().__init__(f"The source {path} holds no photo: put {wanted} there, or name another source")


class UnknownFormat(IndexerError):
    """A format that doesn't exist, or that the source isn't in."""

    def __init__(self, path: Path, problem: str, remedy: str = f"give --format one of {', '.join(FORMATS)}"):
        super().__init__(f"Can't read the source {path}: {problem}; {remedy}")


class AmbiguousSource(IndexerError):
    """A folder with several manifests, none of which is named manifest.jsonl."""

    def __init__(self, path: Path, names: list[str]):
        super().__init__(
            f"The folder {path} holds {len(names)} manifests ({', '.join(names)}): name one, as in "
            f"`python manage.py build-index {path / names[0]}`, or give --format folder to index its photos"
        )


class BadManifestLine(IndexerError):
    """The first line or row of a manifest none of which says anything usable; nothing was indexed."""

    def __init__(self, path: Path, number: int, problem: str, kind: str = "line"):
        self.number = number
        super().__init__(f"{path}, {kind} {number}: {problem}; mend that {kind} and run again (nothing was indexed)")


class BadAnnotations(IndexerError):
    """A COCO annotation file that can't be read; nothing was indexed."""

    def __init__(self, path: Path, problem: str):
        self.path, self.sentence = path, f"{path}: {problem}; mend or remove that file and run again."
        super().__init__(f"{self.sentence[:-1]} (nothing was indexed)")


class MismatchedLanguages(IndexerError):
    """Languages that can't be told to belong to caption files."""

    def __init__(self, files: int, languages: int):
        super().__init__(
            f"There are {files} caption files and {languages} languages: give --lang once, or once for each --captions"
        )


class DownloadFailed(IndexerError):
    """Something can't be fetched, or can't be kept."""

    def __init__(self, what: object, problem: str, remedy: str = "check the connection"):
        super().__init__(f"{what} can't be downloaded ({problem}): {remedy}, then run the same command to go on")


class UnusableArchive(IndexerError):
    """What was fetched isn't what it should be."""

    def __init__(self, name: str, problem: str):
        super().__init__(f"{name} can't be used: {problem}; run the same command to fetch it anew")


class WrongModel(IndexerError):
    """Nothing in the source is what the model reads."""

    def __init__(self, root: Path, has: str, reads: str, remedy: str):
        super().__init__(f"The source {root} has {has} only, and the model reads {reads}: {remedy} (nothing was indexed)")


class WorkersUnavailable(IndexerError):
    """Worker processes don't start."""

    def __init__(self):
        super().__init__(
            "Worker processes don't start here: call build_index under `if __name__ == '__main__':`, or with workers=0"
        )


class MostVanished(IndexerError):
    """More than half of what the collection has from a source is gone there; nothing was published."""

    def __init__(self, root: str, gone: int, known: int):
        super().__init__(
            f"{gone} of the {known} photos that the collection has from {root} are gone: if that is meant, add "
            "--drop-missing; to keep them searchable, add --keep-missing (nothing was published, what was encoded is kept)"
        )


class MissingPhoto(IndexerError):
    """A photo that was named and isn't there; nothing was added."""

    def __init__(self, path: str):
        super().__init__(f"There is no file {path}: check the path (nothing was added)")
