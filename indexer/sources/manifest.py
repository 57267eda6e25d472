"""A manifest of records: JSON Lines, a JSON list or a table, with `image` or `features`, captions and any other keys."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from indexer.errors import BadAnnotations, EmptySource, MissingSource, UnknownFormat
from indexer.items import one_line
from indexer.sources.base import Source
from indexer.sources.record_files import RecordFile, json_lines, open_records
from indexer.sources.records import RecordListing, item_from

TABLES = frozenset({".csv", ".tsv"})


class ManifestSource(Source):
    """The photos that a file lists, one object a line; `x.csv` and `x.tsv` are tables, and a JSON may be a list of objects.

    Paths in `image`, and in `features` if they name an `.npz`, are relative to the manifest's folder, not to the working
    directory.
    """

    format = "manifest"

    def __init__(self, path: Path):
        """Read and check the whole file. Bad records are problems.

        Raises:
            MissingSource: the file can't be read.
            UnknownFormat: it is a JSON or a table of something else.
            UnknownColumns: it is a table without columns of photos and captions.
            EmptySource: it holds no record.
            BadManifestLine: no record can be used.
        """
        try:
            listing = _listed(path, _opened(path))
        except OSError as error:
            raise MissingSource(path, f"can't be read ({error.strerror})") from error
        items = listing.items()
        if not items:
            raise EmptySource(path, 'lines such as {"image": "a.jpg", "captions": {"en": ["A dog."]}}')
        super().__init__(path, items, listing.problems, [""] if listing.problems else [], files=[path])


def _opened(path: Path) -> RecordFile:
    if path.suffix.lower() not in TABLES and not (path.suffix.lower() == ".json" and _is_list(path)):
        return RecordFile("line", json_lines(path))
    if not os.access(path, os.R_OK):
        raise MissingSource(path, "can't be read (permission denied)")
    try:
        return open_records(path)
    except BadAnnotations as error:
        raise UnknownFormat(path, error.problem, "mend that file") from error


def _listed(path: Path, file: RecordFile) -> RecordListing:
    listing = RecordListing(file.kind)
    for number, record in _records(path, file):
        try:
            if isinstance(record, ValueError):
                raise record
            listing.add(item_from(path.parent, record))
        except (ValueError, RecursionError) as error:
            listing.refuse(path, number, one_line(str(error)))
    return listing


def _records(path: Path, file: RecordFile) -> Iterator[tuple[int, Any]]:
    try:
        yield from file.records
    except BadAnnotations as error:
        raise UnknownFormat(path, error.problem, "mend that file") from error


def _is_list(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(64).lstrip().startswith(b"[")
