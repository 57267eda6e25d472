"""Sources of photos, one module a kind; `open_source` detects which one a path is."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from indexer.errors import FORMATS, IndexerError, MismatchedLanguages, MissingSource, UnknownFormat
from indexer.items import is_utf8, printable
from indexer.sources.base import Source
from indexer.sources.captions import CaptionJoin
from indexer.sources.coco import CocoSource, annotation_files, is_annotations, remedy_for, seems_karpathy
from indexer.sources.exclusions import Exclusions
from indexer.sources.folder import FolderSource
from indexer.sources.listing import photos_below
from indexer.sources.manifest import ManifestSource
from indexer.sources.manifests import all_manifests, has_manifest, open_manifest
from indexer.sources.not_listed import count_rest, without_excluded
from indexer.sources.record_files import BY_NAME, Columns
from indexer.sources.regions import RegionsSource, is_features_folder
from indexer.sources.webdataset import WebDatasetSource, shards_in

__all__ = ["CocoSource", "FolderSource", "ManifestSource", "RegionsSource", "Source", "WebDatasetSource", "open_source"]

LISTS_ALL = FolderSource, RegionsSource
"""Sources that see every file below their folder."""


LISTS = frozenset({".tar", ".jsonl", ".parquet", ".csv", ".tsv"})
"""Endings of files that tell how they are read."""


class Kind(NamedTuple):
    """A kind of folder: its format, and how it is told. The first that fits counts."""

    format: str
    fits: Callable[[Path], object]


KINDS = (
    # Annotations beside folders of images: they name the photos and say more of them than a walk would.
    Kind("coco", annotation_files),
    # A list made for this: it has the usual name and names photos, or it names photos that are there.
    Kind("manifest", has_manifest),
    # A detector's features for every photo: models that read them need both.
    Kind("regions", is_features_folder),
    # Photos, whatever lies beside them: one stray tar or table at the top doesn't make a folder something else.
    Kind("folder", lambda root: any(photos_below(root))),
    # No photos of their own below: those in the tars, or in the Parquet files, or wherever a list says that they are.
    Kind("webdataset", shards_in),
    Kind("manifest", all_manifests),
)


def open_source(
    path: str | Path,
    format: str | None = None,
    captions: Sequence[Path] = (),
    languages: Sequence[str] = (),
    columns: Columns = BY_NAME,
    exclude: Sequence[str] = (),
) -> Source:
    """Open a source: list its photos with their captions.

    Args:
        path: a file or folder.
        format: one of `indexer.errors.FORMATS`; None detects it.
        captions: files with more captions of these photos.
        languages: the languages of `captions`: one for each file, or one for all; empty detects them by script.
        columns: of those of `captions` that are tables.
        exclude: patterns in gitignore's syntax of what isn't wanted, relative to the source's folder.

    Raises:
        MissingSource: the path does not exist or may not be read.
        EmptySource: it holds no photo.
        UnknownFormat: it is in no known format, or not in the given one.
        AmbiguousSource: a folder holds several manifests.
        BadManifestLine: no record of a manifest can be used.
        BadAnnotations: no COCO file can be used, or one of `captions` can't.
        UnknownColumns: it can't be told which columns of a table are meant.
        BadPattern: one of `exclude` has a syntax error.
        MismatchedLanguages: the numbers of `captions` and `languages` don't fit.
    """
    if languages and len(languages) not in (1, len(captions)):
        raise MismatchedLanguages(len(captions), len(languages))
    source = _open(path, format, exclude)
    given = [os.path.abspath(Path(file).expanduser()) for file in captions]
    found = [table for table in source.tables if table not in given]
    if found or given:
        join = CaptionJoin(source)
        join.add_found(found)
        for number, file in enumerate(given):
            join.add(Path(file), languages[number % len(languages)] if languages else None, columns)
        source = join.applied()
    if not isinstance(source, LISTS_ALL):
        root = _absolute(path)
        source = without_excluded(source, root if root.is_dir() else root.parent, exclude, is_walked=root.is_dir())
        if root.is_dir():
            count_rest(source, root, exclude, given)
    optional = {"image_column": columns.image, "caption_column": columns.caption, "exclude": [*exclude]}
    source.options = {"format": format, "captions": given, "languages": [*languages]}
    source.options |= {name: value for name, value in optional.items() if value}
    return source


def reopen_source(path: str | Path, options: dict[str, Any]) -> Source:
    """Open a source as it was opened before, with the `options` that it had. Raises what `open_source` raises."""
    columns = Columns(options.get("image_column"), options.get("caption_column"))
    captions, languages = options.get("captions", ()), options.get("languages", ())
    return open_source(path, options.get("format"), captions, languages, columns, options.get("exclude", ()))


def _open(path: str | Path, format: str | None, exclude: Sequence[str]) -> Source:
    root = _absolute(path)
    if format not in (None, *FORMATS):
        raise UnknownFormat(root, f"there is no format {format!r}")
    if not is_utf8(root):
        raise MissingSource(Path(printable(root)), "has a name that is not UTF-8, rename it")
    if not os.path.exists(root):  # unlike Path.exists, this is False for a name that is too long or not accessible
        raise MissingSource(root)
    if format != "manifest" and is_annotations(root):
        raise UnknownFormat(root, "it is a COCO annotation file", remedy_for(root))
    if root.is_dir() and not os.access(root, os.R_OK | os.X_OK):
        raise MissingSource(root, "can't be read (permission denied)")
    Exclusions(root, exclude)
    chosen = format or _detect(root)
    if root.is_file() and (chosen in ("folder", "regions") or (chosen == "coco" and not seems_karpathy(root))):
        raise UnknownFormat(root, f"it is a file, and the format {chosen} is a folder", "name the folder")
    openers: dict[str, Callable[[], Source]] = {
        "coco": lambda: CocoSource(root),
        "manifest": lambda: open_manifest(root),
        "folder": lambda: FolderSource(root, exclude),
        "regions": lambda: RegionsSource(root, exclude),
        "webdataset": lambda: WebDatasetSource(root),
    }
    try:
        return openers[chosen]()
    except IndexerError as error:
        error.other_format = next(iter(_formats_of(root, but=chosen)), None)
        raise


def _absolute(path: str | Path) -> Path:
    return Path(os.path.abspath(Path(path).expanduser()))


def _detect(root: Path) -> str:
    """The format of an existing path."""
    return next(_formats_of(root), "folder")


def _formats_of(root: Path, but: str | None = None) -> Iterator[str]:
    """The formats that a path may be read in, the likeliest first."""
    if root.is_file():
        told = "webdataset" if root.suffix.lower() == ".tar" else "manifest"
        yield from [told] if told != but and (but is None or root.suffix.lower() in LISTS) else []
    else:
        yield from (kind.format for kind in KINDS if kind.format != but and kind.fits(root))
