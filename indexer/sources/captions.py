"""Captions from a file of their own, such as Chinese ones for COCO or a table, added to the photos of any source."""

from __future__ import annotations

import json
import os
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
from indexer.sources.packed import PackedItems
from indexer.sources.photo_finder import PhotoFinder
from indexer.sources.record_files import BY_NAME, Columns, RecordFile, open_records, read_json_file, records_in
from indexer.sources.records import read_record, take_image
from indexer.text_index import TextIndex

NAMED = 5
ROWS_AT_ONCE = 1024


def with_captions(
    source: Source, path: Path, language: str | None = None, columns: Columns = BY_NAME, keep_unknown: bool = True
) -> Source:
    """The source with the captions of a file added to its own.

    The file is in COCO's layout or holds records (`indexer.sources.record_files`), each of which names a photo: by its path,
    its name, with or without ending, or by COCO's number in it (`COCO_val2014_000000000042.jpg` is 000000000042.jpg of 2017).
    Where a name means several photos, or several names the same photo, the captions are nobody's. Captions of unknown photos
    are counted in `problems`.

    Args:
        source: the source that has the photos.
        path: the file of captions.
        language: the language of captions that don't say theirs; None detects it by script.
        columns: of a table.
        keep_unknown: False leaves out of the problems that captions are of photos which are not there.

    Raises:
        BadAnnotations: the file can't be used, or none of its captions belongs to a photo of the source.
        UnknownColumns: it is a table, and it can't be told which of its columns are meant.
    """
    joined = _Joined(path, PhotoFinder(source))
    content = read_json_file(path) if path.suffix.lower() == ".json" else None
    if is_coco(content):
        problems = _join_coco(CocoFile(path, content), joined, language, keep_unknown)
    else:
        file = open_records(path, columns) if content is None else records_in(path, content)
        problems = _join_records(file, joined, language)
    if not joined.is_usable:
        raise BadAnnotations(path, f"none of its captions is of a photo in {source.root}")
    items = PackedItems(joined.items(source))
    return source.with_items(items, problems + joined.problems(keep_unknown))


def with_found_captions(source: Source, paths: list[str]) -> Source:
    """The source with the captions of those files that hold some and stand where they are of the whole source.

    That is directly in its folder, or in any folder as `metadata.csv` and the like. Other files are counted as not used; those
    that seem to hold captions, by themselves.
    """
    root = os.fspath(source.root)
    for path in paths:
        if os.path.dirname(path) == root or os.path.basename(path).lower() in METADATA_TABLES:
            try:
                source = with_captions(source, Path(path), keep_unknown=False)
                continue
            except (BadAnnotations, UnknownColumns):
                pass
        if _seems_captions(path):
            source.unused.add(unused.CAPTIONS, path, printable(os.path.relpath(path, root)))
        else:
            source.unused.add(unused.NO_PHOTO if path.lower().endswith(".txt") else unused.OTHER_KIND, path)
    return source


class _Joined:
    """The captions and metadata of a file, each with the position of its photo; texts in Arrow's memory, not as objects."""

    def __init__(self, path: Path, finder: PhotoFinder):
        self.path = path
        self._finder = finder
        self._positions, self._names, self._exact = array("q"), array("q"), array("b")
        self._contents, self._waiting = TextIndex(), list[str]()
        self._unknown, self._ambiguous = _Counted(), _Counted()

    @property
    def is_usable(self) -> bool:
        return bool(len(self._positions))

    def add(self, name: int | str, captions: list[SourceCaption], metadata: dict[str, Any], is_counted: bool = True) -> bool:
        """Add what a record says; False if its photo is not there, which is counted unless `is_counted` is False."""
        match = self._finder.find(name, os.fspath(self.path.parent))
        if match.position is None:
            if match.is_ambiguous:
                self._ambiguous.add(name, len(captions))
            elif is_counted:
                self._unknown.add(name, len(captions))
            return match.is_ambiguous
        self._positions.append(match.position)
        self._names.append(hash(name))
        self._exact.append(match.is_exact)
        self._waiting.append(json.dumps([[(one.language, one.text, one.origin) for one in captions], metadata]))
        if len(self._waiting) == ROWS_AT_ONCE:
            self._store()
        return True

    def items(self, source: Source) -> Iterator[SourceItem]:
        """The source's photos with what was added."""
        self._store()
        positions, is_usable = np.array(self._positions, np.int64), self._usable_rows()
        order = np.argsort(positions, kind="stable")
        order = order[is_usable[order]]
        starts = np.searchsorted(positions[order], np.arange(len(source) + 1))
        for position, item in enumerate(source):
            rows = order[starts[position] : starts[position + 1]]
            yield _with_rows(item, [json.loads(self._contents[int(row)]) for row in rows]) if len(rows) else item

    def problems(self, keep_unknown: bool) -> list[Failure]:
        """What could not be given to a photo."""
        file = printable(self.path)
        found = []
        if self._unknown.captions and keep_unknown:
            found.append(("unknown", f"{self._unknown.captions} captions are of photos that are not there ({self._unknown})"))
        if self._ambiguous.captions:
            found.append(
                ("ambiguous", f"{self._ambiguous.captions} captions were given to none of several photos ({self._ambiguous})")
            )
        return [Failure(f"{file} ({kind})", "bad_annotations", f"{file}: {sentence}.") for kind, sentence in found]

    def _usable_rows(self) -> np.ndarray:
        """Which rows are given to their photos, bool [n].

        Rows whose name is exact win; a photo that several names mean only somehow gets nothing.
        """
        positions, names = np.array(self._positions, np.int64), np.array(self._names, np.int64)
        exact = np.array(self._exact, bool)
        has_exact = np.isin(positions, positions[exact])
        weak = ~exact & ~has_exact
        order = np.lexsort((names[weak], positions[weak]))
        ordered, own = positions[weak][order], names[weak][order]
        contested = ordered[1:][(ordered[1:] == ordered[:-1]) & (own[1:] != own[:-1])]
        usable = exact | (weak & ~np.isin(positions, contested))
        for row in np.flatnonzero(~usable).tolist():
            captions = json.loads(self._contents[row])[0]
            self._ambiguous.add(captions[0][1] if captions else "", len(captions))
        return usable

    def _store(self) -> None:
        if self._waiting:
            self._contents.add(self._waiting)
            self._waiting = []


class _Counted:
    """How many captions name something that can't be used, with the first names."""

    def __init__(self):
        self.captions = 0
        self._names: dict[str, None] = {}
        self._has_more = False

    def add(self, name: int | str, captions: int) -> None:
        self.captions += captions
        if captions and len(self._names) < NAMED:
            self._names[one_line(str(name))[:80]] = None
        else:
            self._has_more = True

    def __str__(self) -> str:
        return ", ".join(self._names) + (", ..." if self._has_more else "")


def _join_coco(file: CocoFile, joined: _Joined, language: str | None, keep_unknown: bool) -> list[Failure]:
    names = {image["id"]: image["file_name"] for image in file.images}
    for image_id in file.image_ids:
        captions = file.captions_of(image_id, language)
        if joined.add(names.get(image_id, image_id), captions, {}, is_counted=False) or not keep_unknown:
            file.take(image_id)
    return file.problems()


def _join_records(file: RecordFile, joined: _Joined, language: str | None) -> list[Failure]:
    path = joined.path
    keeps_metadata = path.name.lower() in METADATA_TABLES or file.kind == "record"
    refused, first = 0, ""
    for number, record in _read(path, file):
        try:
            if isinstance(record, ValueError):
                raise record
            captions, metadata = read_record(record, printable(path.name), language)
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


def _with_rows(item: SourceItem, rows: list[tuple[list[tuple[str, str, str]], dict[str, Any]]]) -> SourceItem:
    known = {(caption.language, caption.text) for caption in item.captions}
    added = dict.fromkeys(SourceCaption(*one) for captions, _ in rows for one in captions)
    new = [caption for caption in added if (caption.language, caption.text) not in known]
    metadata = dict(item.metadata)
    for _, own in rows:
        metadata = {**own, **metadata}
    return replace(item, captions=[*item.captions, *new], metadata=metadata)


def _seems_captions(path: str) -> bool:
    """True if a file that was not used may hold captions by photo."""
    try:
        opened = open_records(Path(path))
        for _, record in opened.records:
            if isinstance(record, ValueError):
                continue
            captions, metadata = read_record(record)
            return bool(captions) and take_image(metadata) is not None
    except (BadAnnotations, UnknownColumns, OSError, ValueError, RecursionError):
        return False
    return False
