"""The columns that a filter can name: those of images, captions and text in photos, and every key of the metadata."""

from __future__ import annotations

import difflib
import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from threading import Lock
from typing import Any, Literal
from weakref import ref

import numpy as np
import pyarrow as pa

from storage.arrow_compute import pc
from storage.photo_texts import ORIGIN
from storage.snapshot import Snapshot
from storage.snapshot_memo import SnapshotMemo

Kind = Literal["text", "number", "truth", "nested"]
"""The kind of a value. "nested" stands for what has its values further inside: an object, or a list of objects."""
Of = Literal["images", "captions"]
METADATA = "metadata."
_Gathered = dict[str, dict[Kind, tuple[list[int], list[Any]]]]
"""By column and kind: rows, and beside them values."""
MAX_DEPTH = 8
MAX_NAMED = 40


@dataclass(frozen=True, eq=False)
class Values:
    """All values of one kind in a column. A row has none, one, or, as with tags, several.

    Attributes:
        rows: Int64 [m], sorted upwards: the row of each value.
        values: An Arrow array [m]; of nulls, if the values are nested.
    """

    rows: np.ndarray
    values: pa.Array | pa.ChunkedArray


class Columns:
    """The columns of one version's images or captions, each read when it is first needed. Thread safe.

    Row i belongs to `ids[i]`. A caption has the columns of its photo too. The columns can be read as long as the caller holds
    the snapshot.
    """

    def __init__(self, snapshot: Snapshot, of: Of) -> None:
        self._snapshot, self._of = ref(snapshot), of  # not held: what is kept for a snapshot must not keep it open
        self._lock = Lock()
        self._read: dict[str, dict[Kind, Values]] = {}
        self._images = snapshot.image_table()
        self.ids = snapshot.image_ids() if of == "images" else snapshot.caption_ids()
        self._photos = np.arange(len(self.ids)) if of == "images" else _photo_of_each_caption(snapshot)

    def names(self) -> list[str]:
        """The names of all columns, in alphabetical order."""
        named = [name for name in self._metadata if name]
        return sorted({*self._own, *named, *(METADATA + name for name in named if name in self._own)})

    def find(self, name: str) -> dict[Kind, Values] | None:
        """The values of a column by kind. An empty column has no kind; None means that there is no such column."""
        with self._lock:
            if name not in self._read:
                found = self._load(name)
                if found is None:
                    return None
                self._read[name] = found
            return self._read[name]

    def read(self) -> list[str]:
        """The names of the columns that were read so far."""
        with self._lock:
            return list(self._read)

    def suggestion(self, name: str) -> str:
        """A hint for a column that doesn't exist: a similar name, and the names that exist."""
        names = self.names()
        near = difflib.get_close_matches(name, names, 1)
        more = f", and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
        return (f"did you mean {near[0]}? " if near else "") + f"there are {', '.join(names[:MAX_NAMED])}{more}"

    def _load(self, name: str) -> dict[Kind, Values] | None:
        if name in self._own:
            return self._own[name]()
        return self._metadata.get(name, self._metadata.get(name.removeprefix(METADATA)))

    @cached_property
    def _own(self) -> dict[str, Callable[[], dict[Kind, Values]]]:
        """Functions that read the columns that every photo or caption has."""
        read: dict[str, Callable[[], dict[Kind, Values]]] = {}
        for name in ("sha256", "source", "uri"):
            read[name] = lambda name=name: self._of_photos("text", self._images[name])
        for name in ("width", "height", "bytes"):
            read[name] = lambda name=name: self._of_photos("number", self._images[name])
        read["size"] = read["bytes"]
        read["folder"] = lambda: self._of_photos("text", self._parts_of_paths(os.path.dirname))
        read["name"] = lambda: self._of_photos("text", self._parts_of_paths(os.path.basename))
        read["image_id"] = lambda: self._of_photos("number", self._images["image_id"])
        for name, column in (("language", "language"), ("caption", "text"), ("origin", "origin")):
            read[name] = lambda column=column: self._of_captions("text", column)
        read["log_probability"] = lambda: self._of_captions("number", "log_probability")
        read["ocr"] = lambda: {"text": self._spread(*self._lines())}
        if self._of == "images":
            read["origin"] = self._origins
            read["id"] = read["image_id"]
        else:
            read["id"] = lambda: {"number": Values(np.arange(len(self.ids)), pa.array(self.ids))}
        return read

    def _of_photos(self, kind: Kind, values: pa.Array | pa.ChunkedArray) -> dict[Kind, Values]:
        return {kind: Values(np.arange(len(self.ids)), values.take(pa.array(self._photos)))}

    def _parts_of_paths(self, part: Callable[[str], str]) -> pa.Array:
        return pa.array([part(path) for path in self._images["uri"].to_pylist()], pa.string())

    def _of_captions(self, kind: Kind, column: str) -> dict[Kind, Values]:
        snapshot = self._snapshot()
        assert snapshot is not None  # the caller holds it while it filters
        table = snapshot.caption_table()
        rows = np.flatnonzero(table[column].is_valid().to_numpy())
        values = table[column].drop_null()
        if self._of == "captions":
            return {kind: Values(rows, values)}
        owners = np.searchsorted(self.ids, table["image_id"].to_numpy()[rows])
        order = np.argsort(owners, kind="stable")
        return {kind: Values(owners[order], values.take(pa.array(order)))}

    def _origins(self) -> dict[Kind, Values]:
        """Where the captions of each photo come from, and ORIGIN where text was read in it."""
        captions, (lines, _) = self._of_captions("text", "origin")["text"], self._lines()
        photos = np.unique(lines)
        rows = np.concatenate([captions.rows, photos])
        order = np.argsort(rows, kind="stable")
        values = pa.chunked_array([*_chunks(captions.values), pa.array([ORIGIN] * len(photos), pa.string())], pa.string())
        return {"text": Values(rows[order], values.take(pa.array(order)))}

    def _lines(self) -> tuple[np.ndarray, pa.Array]:
        """The lines of text that were read in photos: the row of each one's image, int64 [m] ascending, and what they say."""
        snapshot = self._snapshot()
        assert snapshot is not None  # as above
        return snapshot.texts.lines_of(self._images["sha256"].to_pylist())

    @cached_property
    def _metadata(self) -> dict[str, dict[Kind, Values]]:
        """The columns of the metadata, and of what photos say of themselves; a nested key is a path with dots."""
        gathered: _Gathered = {}
        texts = zip(self._images["metadata"].to_pylist(), self._images["embedded"].to_pylist(), strict=True)
        for row, (text, embedded) in enumerate(texts):
            _gather({**json.loads(embedded or "{}"), **json.loads(text)}, None, row, gathered, MAX_DEPTH)
        return {
            name: {kind: self._spread(rows, _arrow(kind, values)) for kind, (rows, values) in kinds.items()}
            for name, kinds in gathered.items()
        }

    def _spread(self, rows: list[int] | np.ndarray, values: pa.Array) -> Values:
        """Turn values by rows of images into values by rows of what is filtered."""
        photos = np.array(rows, np.int64)
        if self._of == "images":
            return Values(photos, values)
        starts, ends = np.searchsorted(photos, self._photos, "left"), np.searchsorted(photos, self._photos, "right")
        counts = ends - starts
        taken = np.repeat(starts - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())
        return Values(np.repeat(np.arange(len(self.ids)), counts), values.take(pa.array(taken)))


_columns: dict[Of, SnapshotMemo[Columns]] = {
    of: SnapshotMemo(lambda snapshot, of=of: Columns(snapshot, of)) for of in ("images", "captions")
}


def columns_of(snapshot: Snapshot, of: Of) -> Columns:
    """The columns of a snapshot's images or captions. They are read once and kept as long as the snapshot is open."""
    return _columns[of].of(snapshot)


def warm_columns(snapshot: Snapshot, before: Snapshot) -> None:
    """Read those columns of a snapshot that were read of the one before, which it is about to replace."""
    for kept in _columns.values():
        if (known := kept.made_of(before)) is not None:
            columns = kept.of(snapshot)
            for name in known.read():
                columns.find(name)


def _photo_of_each_caption(snapshot: Snapshot) -> np.ndarray:
    """For each caption, the row of its photo in the table of images, int64 [captions]."""
    return np.searchsorted(snapshot.image_ids(), snapshot.caption_table()["image_id"].to_numpy())


def _chunks(values: pa.Array | pa.ChunkedArray) -> list[pa.Array]:
    return values.chunks if isinstance(values, pa.ChunkedArray) else [values]


def _gather(value: object, name: str | None, row: int, gathered: _Gathered, depth: int) -> bool:
    """Sort all values inside a JSON value into columns.

    Args:
        value: The JSON value.
        name: The path to it, with dots; None for the whole.
        row: The row of the image it belongs to.
        gathered: The columns so far.
        depth: How many levels to go down; what is nested deeper has no column of its own.

    Returns:
        True if there is a value: a text, a number or a truth, however deep.
    """
    column = {} if name is None else gathered.setdefault(name, {})
    if not isinstance(value, (dict, list)):
        kind: Kind = "text" if isinstance(value, str) else "truth" if isinstance(value, bool) else "number"
        if value is not None:
            _append(column, kind, row, value)
        return value is not None
    if not depth:
        found = _has_value(value)
    elif isinstance(value, dict):
        inner = [_gather(one, key if name is None else f"{name}.{key}", row, gathered, depth - 1) for key, one in value.items()]
        found = any(inner)
    else:
        return any([_gather(one, name, row, gathered, depth - 1) for one in value])  # each says what it is itself
    if found:
        _append(column, "nested", row, None)
    return found


def _append(column: dict[Kind, tuple[list[int], list[Any]]], kind: Kind, row: int, value: object) -> None:
    rows, values = column.setdefault(kind, ([], []))
    rows.append(row)
    values.append(value)


def _has_value(value: object) -> bool:
    """True if there is a text, a number or a truth somewhere inside a JSON value, however deep."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, (dict, list)):
            waiting += one.values() if isinstance(one, dict) else one
        elif one is not None:
            return True
    return False


def _arrow(kind: Kind, values: list[Any]) -> pa.Array:
    if kind == "nested":
        return pa.nulls(len(values))
    if kind == "text":
        return pa.array([value.encode("utf-8", "replace").decode("utf-8") for value in values], pa.string())
    if kind == "truth":
        return pa.array(values, pa.bool_())
    whole = all(isinstance(value, int) and abs(value) < 2**63 for value in values)
    return pa.array(values if whole else [_as_float(value) for value in values], pa.int64() if whole else pa.float64())


def _as_float(number: float) -> float:
    """The nearest float; infinity for a whole number beyond all of them."""
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def no_values(kinds: dict[Kind, Values]) -> bool:
    """True if a column is empty in every row."""
    return all(len(values.rows) == 0 for values in kinds.values())


def texts_as_times(texts: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Turn texts into timestamps in microseconds; a text that is no date becomes null.

    ISO 8601 and EXIF's `2024:05:01 12:30:00` are read; `2024` and `2024-05` are the beginning of that year or month.
    A zone is ignored, so that a time is what the clock showed.
    """
    once = pc.dictionary_encode(texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts)
    times = pa.array([_time(text) for text in once.dictionary.to_pylist()], pa.timestamp("us"))
    return times.take(once.indices)


def _time(text: str) -> datetime | None:
    text = text.strip()
    if text[4:5] == ":" and text[7:8] == ":":
        text = f"{text[:4]}-{text[5:7]}-{text[8:]}"
    text += {4: "-01-01", 7: "-01"}.get(len(text), "")
    try:
        return datetime.fromisoformat(text).replace(tzinfo=None)
    except ValueError:
        return None
