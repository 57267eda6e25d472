"""Sources of photos, one module a kind; `open_source` detects which one a path is."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from indexer.errors import FORMATS, AmbiguousSource, EmptySource, MismatchedLanguages, MissingSource, UnknownFormat
from indexer.items import is_utf8, printable
from indexer.sources.base import Source
from indexer.sources.captions import with_captions
from indexer.sources.coco import ANNOTATIONS, CocoSource, is_annotations, remedy_for
from indexer.sources.folder import PHOTOS, FolderSource
from indexer.sources.manifest import ManifestSource
from indexer.sources.regions import RegionsSource, is_features_folder
from indexer.sources.webdataset import WebDatasetSource, shards_in

__all__ = ["CocoSource", "FolderSource", "ManifestSource", "RegionsSource", "Source", "WebDatasetSource", "open_source"]

USUAL_MANIFESTS = "manifest.jsonl", "manifest.parquet"


def open_source(
    path: str | Path, format: str | None = None, captions: Sequence[Path] = (), languages: Sequence[str] = ()
) -> Source:
    """Open a source: list its photos with their captions.

    Args:
        path: a file or folder.
        format: one of `indexer.errors.FORMATS`; None detects it.
        captions: files in COCO's layout with more captions of these photos.
        languages: the languages of `captions`: one for each file, or one for all; empty detects them by script.

    Raises:
        MissingSource: the path does not exist or may not be read.
        EmptySource: it holds no photo.
        UnknownFormat: it is in no known format, or not in the given one.
        AmbiguousSource: a folder holds several manifests.
        BadManifestLine: no record of a manifest can be used.
        BadAnnotations: no COCO file can be used, or one of `captions` can't.
        MismatchedLanguages: the numbers of `captions` and `languages` don't fit.
    """
    if languages and len(languages) not in (1, len(captions)):
        raise MismatchedLanguages(len(captions), len(languages))
    source = _open(path, format)
    for number, file in enumerate(captions):
        source = with_captions(source, Path(file), languages[number % len(languages)] if languages else None)
    source.options = {"format": format, "captions": [os.path.abspath(file) for file in captions], "languages": [*languages]}
    return source


def _open(path: str | Path, format: str | None) -> Source:
    root = Path(os.path.abspath(Path(path).expanduser()))
    if format not in (None, *FORMATS):
        raise UnknownFormat(root, f"there is no format {format!r}")
    if not is_utf8(root):
        raise MissingSource(Path(printable(root)), "has a name that is not UTF-8, rename it")
    if not os.path.exists(root):  # unlike Path.exists, this is False for a name that is too long or not accessible
        raise MissingSource(root)
    if format != "manifest" and is_annotations(root):
        raise UnknownFormat(root, "it is a COCO annotation file", remedy_for(root))
    openers = {
        "coco": CocoSource,
        "manifest": _open_manifest,
        "folder": FolderSource,
        "regions": RegionsSource,
        "webdataset": WebDatasetSource,
    }
    opener = openers[format or _detect(root)]
    if root.is_file() and opener in (CocoSource, FolderSource, RegionsSource):
        raise UnknownFormat(root, f"it is a file, and the format {format} is a folder", "name the folder")
    if root.is_dir() and not os.access(root, os.R_OK | os.X_OK):
        raise MissingSource(root, "can't be read (permission denied)")
    return opener(root)


def _detect(root: Path) -> str:
    """The format of an existing path."""
    if root.is_file():
        return "webdataset" if root.suffix.lower() == ".tar" else "manifest"
    if any(root.glob(ANNOTATIONS)):
        return "coco"
    manifests = _manifests(root)
    if any(name.endswith(".jsonl") for name in manifests) or USUAL_MANIFESTS[1] in manifests:
        return "manifest"
    if shards_in(root) and not any(_is_photo(path) for path in root.iterdir()):
        return "webdataset"
    if manifests:
        return "manifest"
    return "regions" if is_features_folder(root) else "folder"


def _open_manifest(root: Path) -> Source:
    if root.is_file():
        return _open_file(root)
    names = _manifests(root)
    if not names:
        raise EmptySource(root, f"a {USUAL_MANIFESTS[0]}")
    usual = [name for name in USUAL_MANIFESTS if name in names]
    if usual or len(names) == 1:
        return _open_file(root / (usual or names)[0])
    if all(name.endswith(".parquet") for name in names):
        return _parquet(root, [root / name for name in names])
    raise AmbiguousSource(root, names)


def _open_file(path: Path) -> Source:
    if path.suffix.lower() in PHOTOS:
        raise UnknownFormat(path, "it is a photo, not a manifest", "name the folder that it is in")
    return _parquet(path, [path]) if path.suffix.lower() == ".parquet" else ManifestSource(path)


def _parquet(root: Path, parts: list[Path]) -> Source:
    from indexer.sources.parquet import ParquetSource  # pyarrow takes a while to import, and few sources need it

    return ParquetSource(root, parts)


def _manifests(root: Path) -> list[str]:
    """The names of the manifests directly in a folder, sorted."""
    found = [path for ending in ("jsonl", "parquet") for path in root.glob(f"*.{ending}")]
    return sorted(path.name for path in found if path.is_file() and not path.name.startswith("."))


def _is_photo(path: Path) -> bool:
    return path.suffix.lower() in PHOTOS and not path.name.startswith(".")
