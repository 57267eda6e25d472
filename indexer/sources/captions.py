"""Captions from files of their own, such as Chinese ones for COCO or a table, added to the photos of any source."""

from __future__ import annotations

import json
import os
import re
from array import array
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from indexer.errors import BadAnnotations, UnknownColumns
from indexer.items import Failure, SourceCaption, SourceItem, one_line, printable
from indexer.sources import unused
from indexer.sources.base import Source
from indexer.sources.coco_file import CocoFile, is_coco
from indexer.sources.listing import METADATA_TABLES
from indexer.sources.photo_finder import Match, PhotoFinder
from indexer.sources.record_files import BY_NAME, Columns, RecordFile, open_records, read_json_file, records_in
from indexer.sources.records import read_record, take_image
from indexer.text_index import TextIndex

NAMED = 5
NAMED_CAPTIONS = re.compile("caption|sentence|token", re.IGNORECASE)
ROWS_AT_ONCE = 1024
MOST_BYTES_LOOKED_AT = 20_000_000


class CaptionJoin:
    """Joins files of captions to the photos of a source; their texts are in Arrow's memory, not objects.

    A file is in COCO's layout or holds records (`indexer.sources.record_files`), each of which names a photo: by its path, its
    name, with or without ending, or by COCO's number in it (`COCO_val2014_000000000042.jpg` is 000000000042.jpg of 2017).
    Where a name means several photos, or several names of a file the same photo, the captions are nobody's.
    """

    def __init__(self, source: Source):
        """Look at the photos.

        Args:
            source: the source that has them.
        """
        self._source, self._finder = source, PhotoFinder(source)
        self._files: list[_JoinedFile] = []
        self._problems: list[Failure] = []

    def add(self, path: Path, language: str | None = None, columns: Columns = BY_NAME, is_found: bool = False) -> None:
        """Read a file.

        Args:
            path: the file.
            language: the language of captions that don't say theirs; None detects it by script.
            columns: of a table.
            is_found: True if nobody named the file: it must have a header, and captions of photos that are not there are no
                problem.

        Raises:
            BadAnnotations: the file can't be used, or none of its captions belongs to a photo of the source.
            UnknownColumns: it is a table, and it can't be told which of its columns are meant.
        """
        joined = _JoinedFile(path, self._finder)
        content = read_json_file(path) if path.suffix.lower() == ".json" else None
        if is_coco(content):
            problems = _join_coco(CocoFile(path, content), joined, language, is_found)
        else:
            file = open_records(path, columns) if content is None else records_in(path, content)
            if is_found and not file.is_sure:
                raise UnknownColumns(path)
            problems = _join_records(file, joined, language)
        if is_found and joined.unknown_captions:
            name = printable(os.path.relpath(path, self._source.root))
            self._source.unused.add(unused.CAPTION_OF_NO_PHOTO, path, name, joined.unknown_captions)
        if is_found and not joined.has_rows and joined.unknown_captions:
            return
        if not joined.has_rows:
            raise BadAnnotations(path, f"none of its captions is of a photo in {self._source.root}")
        joined.settle()
        self._files.append(joined)
        self._problems += problems + joined.problems(is_found)

    def add_found(self, paths: list[str]) -> None:
        """Read those files that hold captions and stand where they are of the whole source; count the others as not used.

        That is directly in its folder, or in any folder as `metadata.csv` and the like. Others that seem to hold captions are
        counted by themselves.
        """
        root, left = os.fspath(self._source.root), self._source.unused
        for path in paths:
            if os.path.dirname(path) == root or os.path.basename(path).lower() in METADATA_TABLES:
                try:
                    self.add(Path(path), is_found=True)
                    continue
                except (BadAnnotations, UnknownColumns):
                    pass
            if seems_captions(path):
                left.add(unused.CAPTIONS, path, printable(os.path.relpath(path, root)))
            else:
                left.add(unused.NO_PHOTO if path.lower().endswith(".txt") else unused.OTHER_KIND, path)

    def applied(self) -> Source:
        """The source with the captions of all files, those of the first file first."""
        if not self._files:
            return self._source
        return self._source.with_items(self._items(), self._problems)

    def _items(self) -> Iterator[SourceItem]:
        positions = np.concatenate([file.positions for file in self._files])
        order = np.argsort(positions, kind="stable")
        rows = np.concatenate([file.order for file in self._files])[order]
        owners = np.repeat(np.arange(len(self._files)), [len(file.positions) for file in self._files])[order]
        starts = np.searchsorted(positions[order], np.arange(len(self._source) + 1))
        for position, item in enumerate(self._source):
            own = range(starts[position], starts[position + 1])
            yield _with_rows(item, [self._files[owners[at]].row(int(rows[at])) for at in own]) if own else item


Row = tuple[list[tuple[str, str, str]], dict[str, Any]]
"""What a record says: captions (language, text, origin), and metadata."""


class _JoinedFile:
    """What a file says.

    Attributes:
        positions: of the photos of its records, when `settle` was called, int64 [n], ascending.
        order: the numbers of those records, int64 [n].
    """

    def __init__(self, path: Path, finder: PhotoFinder):
        self.path, self._finder = path, finder
        self._folder, self._last = os.fspath(path.parent), ("", Match())
        self._positions, self._names, self._exact = array("q"), array("q"), array("b")
        self._rows, self._waiting = TextIndex(), list[str]()
        self._unknown, self._ambiguous = _Counted(), _Counted()
        self.order = self.positions = np.empty(0, np.int64)

    @property
    def has_rows(self) -> bool:
        return bool(len(self._positions))

    @property
    def unknown_captions(self) -> int:
        """How many captions are of photos that are not there."""
        return self._unknown.captions

    def add(self, name: int | str, captions: list[SourceCaption], metadata: dict[str, Any], is_counted: bool = True) -> bool:
        """Add what a record says; False if its photo is not there, which is counted unless `is_counted` is False."""
        if name != self._last[0]:  # the captions of a photo mostly stand together
            self._last = name, self._finder.find(name, self._folder)
        match = self._last[1]
        if match.position is None:
            if match.is_ambiguous:
                self._ambiguous.add(name, len(captions))
            elif is_counted:
                self._unknown.add(name, len(captions))
            return match.is_ambiguous
        if not captions and not metadata:
            return True
        self._positions.append(match.position)
        self._names.append(hash(name))
        self._exact.append(match.is_exact)
        self._waiting.append(json.dumps([[(one.language, one.text, one.origin) for one in captions], metadata]))
        if len(self._waiting) == ROWS_AT_ONCE:
            self._store()
        return True

    def settle(self) -> None:
        """Order the rows by photo, when all are added."""
        self._store()
        positions, is_usable = np.array(self._positions, np.int64), self._usable()
        for row in np.flatnonzero(~is_usable).tolist():
            captions = self.row(row)[0]
            self._ambiguous.add(captions[0][1] if captions else "", len(captions))
        order = np.argsort(positions, kind="stable")
        self.order = order[is_usable[order]]
        self.positions = positions[self.order]

    def row(self, number: int) -> Row:
        """What a record says."""
        captions, metadata = json.loads(self._rows[number])
        return captions, metadata

    def problems(self, is_found: bool) -> list[Failure]:
        """What could not be given to a photo."""
        file = printable(self.path)
        found = []
        if self._unknown.captions and not is_found:
            found.append(("unknown", f"{self._unknown.captions} captions are of photos that are not there ({self._unknown})"))
        if self._ambiguous.captions:
            sentence = f"{self._ambiguous.captions} captions may be of several photos and are nobody's ({self._ambiguous})"
            found.append(("ambiguous", sentence))
        return [Failure(f"{file} ({kind})", "bad_annotations", f"{file}: {sentence}.") for kind, sentence in found]

    def _usable(self) -> np.ndarray:
        """Which rows are given to their photos, bool [n].

        Rows whose name is exact win; a photo that several names mean only somehow gets nothing.
        """
        positions, names = np.array(self._positions, np.int64), np.array(self._names, np.int64)
        exact = np.array(self._exact, bool)
        weak = ~exact & ~np.isin(positions, positions[exact])
        order = np.lexsort((names[weak], positions[weak]))
        ordered, own = positions[weak][order], names[weak][order]
        contested = ordered[1:][(ordered[1:] == ordered[:-1]) & (own[1:] != own[:-1])]
        return exact | (weak & ~np.isin(positions, contested))

    def _store(self) -> None:
        if self._waiting:
            self._rows.add(self._waiting)
            self._waiting = []


class _Counted:
    """How many captions name something that can't be used, with the first names."""

    def __init__(self):
        self.captions = 0
        self._names: dict[str, None] = {}
        self._has_more = False

    def add(self, name: int | str, captions: int) -> None:
        self.captions += captions
        shown = one_line(str(name))[:80]
        if len(self._names) < NAMED:
            self._names[shown] = None
        elif shown not in self._names:
            self._has_more = True

    def __str__(self) -> str:
        return ", ".join(self._names) + (", ..." if self._has_more else "")


def _join_coco(file: CocoFile, joined: _JoinedFile, language: str | None, is_found: bool) -> list[Failure]:
    names = {image["id"]: image["file_name"] for image in file.images}
    for image_id in file.image_ids:
        captions = file.captions_of(image_id, language)
        if joined.add(names.get(image_id, image_id), captions, {}, is_counted=False) or is_found:
            file.take(image_id)
    return file.problems()


def _join_records(file: RecordFile, joined: _JoinedFile, language: str | None) -> list[Failure]:
    path, origin = joined.path, printable(joined.path.name)
    keeps_metadata = path.name.lower() in METADATA_TABLES or file.kind == "record"
    refused, first = 0, ""
    for number, record in _read(path, file):
        try:
            if isinstance(record, ValueError):
                raise record
            captions, metadata = read_record(record, origin, language)
            image = take_image(metadata)
            name = metadata.pop("image_id", None) if image is None else image
            if not isinstance(name, int | str):
                raise ValueError("it names no photo")
            joined.add(name, captions, metadata if keeps_metadata else {})
        except (ValueError, RecursionError) as error:
            refused += 1
            first = first or f"{file.kind} {number}: {one_line(str(error))}"
    if not refused:
        return []
    shown = printable(path)
    sentence = f"{shown}: {refused} {file.kind}s can't be used (the first is {first})."
    return [Failure(f"{shown} ({file.kind}s)", "bad_annotations", sentence)]


def _read(path: Path, file: RecordFile) -> Iterator[tuple[int, Any]]:
    try:
        yield from file.records
    except OSError as error:
        raise BadAnnotations(path, f"can't be read ({error.strerror})") from error


def _with_rows(item: SourceItem, rows: list[Row]) -> SourceItem:
    known = {(caption.language, caption.text) for caption in item.captions}
    added = dict.fromkeys((language, text) for captions, _ in rows for language, text, _ in captions)
    origins = {(language, text): origin for captions, _ in reversed(rows) for language, text, origin in captions}
    new = [SourceCaption(*one, origins[one]) for one in added if one not in known]
    metadata = dict(item.metadata)
    for _, own in rows:
        metadata = {**own, **metadata}
    return replace(item, captions=[*item.captions, *new], metadata=metadata)


def seems_captions(path: str) -> bool:
    """True if a file that was not used may hold captions by photo. A large JSON is not looked into."""
    if NAMED_CAPTIONS.search(os.path.basename(path)) and path.lower().endswith((".csv", ".tsv", ".token")):
        return True
    try:
        if path.lower().endswith(".json"):
            if os.path.getsize(path) > MOST_BYTES_LOOKED_AT:
                return False
            content = read_json_file(Path(path))
            if is_coco(content):
                return bool(CocoFile(Path(path), content).image_ids)
        for _, record in open_records(Path(path)).records:
            if isinstance(record, ValueError):
                continue
            captions, metadata = read_record(record)
            return bool(captions) and take_image(metadata) is not None
    except (BadAnnotations, UnknownColumns, OSError, ValueError, RecursionError):
        return False
    return False
