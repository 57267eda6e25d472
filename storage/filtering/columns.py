"""The columns that a filter can name: those of the records, those of the captions, and every key of the metadata."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from threading import Lock
from typing import Literal
from weakref import ref

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from storage.snapshot_memo import SnapshotMemo

Kind = Literal["text", "number", "truth"]
Of = Literal["images", "captions"]
METADATA = "metadata."
DEEPEST = 8
MOST_NAMED = 40


@dataclass(frozen=True, eq=False)
class Values:
    """All values of one kind in a column: value i, of an Arrow array [m], is of row `rows[i]`, int64 [m] upwards.

    A row has none, one, or, as with tags, several.
    """

    rows: np.ndarray
    values: pa.Array | pa.ChunkedArray


class Columns:
    """The columns of one version's images, or of its captions, each read when it is first asked for. Thread safe.

    Good for as long as whoever asks holds the snapshot. Row i belongs to `ids[i]`. A caption has the columns of its photo too.
    """

    def __init__(self, snapshot, of: Of) -> None:
        self._snapshot, self._of = ref(snapshot), of  # not held: what is kept for a snapshot must not keep it open
        self._lock = Lock()
        self._known: dict[str, dict[Kind, Values]] = {}
        self._images = snapshot.image_table()
        self.ids = snapshot.image_ids() if of == "images" else snapshot.caption_ids()
        self._photos = np.arange(len(self.ids)) if of == "images" else _photo_of_each_caption(snapshot)

    def names(self) -> list[str]:
        """Every column there is, in alphabetical order."""
        return sorted({*self._own, *self._metadata, *(METADATA + name for name in self._metadata if name in self._own)})

    def find(self, name: str) -> dict[Kind, Values] | None:
        """A column's values by kind; no kind where it is empty; None where there is no such column."""
        with self._lock:
            if name not in self._known:
                found = self._read(name)
                if found is None:
                    return None
                self._known[name] = found
            return self._known[name]

    def read(self) -> list[str]:
        """The columns that were asked for."""
        with self._lock:
            return list(self._known)

    def suggestion(self, name: str) -> str:
        """What to say of a column that isn't there."""
        names = self.names()
        near = difflib.get_close_matches(name, names, 1)
        more = f", and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
        return (f"did you mean {near[0]}? " if near else "") + f"there are {', '.join(names[:MOST_NAMED])}{more}"

    def _read(self, name: str) -> dict[Kind, Values] | None:
        if name in self._own:
            return self._own[name]()
        return self._metadata.get(name.removeprefix(METADATA))

    @cached_property
    def _own(self) -> dict[str, Callable[[], dict[Kind, Values]]]:
        """How the columns that every photo has are read."""
        read: dict[str, Callable] = {}
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
        if self._of == "images":
            return read | {"id": read["image_id"]}
        return read | {"id": lambda: {"number": Values(np.arange(len(self.ids)), pa.array(self.ids))}}

    def _of_photos(self, kind: Kind, values) -> dict[Kind, Values]:
        return {kind: Values(np.arange(len(self.ids)), values.take(pa.array(self._photos)))}

    def _parts_of_paths(self, part: Callable[[str], str]) -> pa.Array:
        return pa.array([part(path) for path in self._images["uri"].to_pylist()], pa.string())

    def _of_captions(self, kind: Kind, column: str) -> dict[Kind, Values]:
        table = self._snapshot().caption_table()
        if self._of == "captions":
            return {kind: Values(np.arange(table.num_rows), table[column])}
        owners = np.searchsorted(self.ids, table["image_id"].to_numpy())
        order = np.argsort(owners, kind="stable")
        return {kind: Values(owners[order], table[column].take(pa.array(order)))}

    @cached_property
    def _metadata(self) -> dict[str, dict[Kind, Values]]:
        """Every key of the metadata, nested ones by a path with dots."""
        gathered: dict[str, dict[Kind, tuple[list[int], list]]] = {}
        for row, text in enumerate(self._images["metadata"].to_pylist()):
            _gather(json.loads(text), "", row, gathered, DEEPEST)
        return {
            name: {kind: self._spread(rows, _arrow(kind, values)) for kind, (rows, values) in kinds.items()}
            for name, kinds in gathered.items()
        }

    def _spread(self, rows: list[int], values: pa.Array) -> Values:
        """Values by rows of images as values by rows of what is filtered."""
        rows = np.array(rows, np.int64)
        if self._of == "images":
            return Values(rows, values)
        starts, ends = np.searchsorted(rows, self._photos, "left"), np.searchsorted(rows, self._photos, "right")
        counts = ends - starts
        taken = np.repeat(starts - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())
        return Values(np.repeat(np.arange(len(self.ids)), counts), values.take(pa.array(taken)))


_columns: dict[Of, SnapshotMemo[Columns]] = {
    of: SnapshotMemo(lambda snapshot, of=of: Columns(snapshot, of)) for of in ("images", "captions")
}


def columns_of(snapshot, of: Of) -> Columns:
    """The columns of a snapshot's images or captions, read once for as long as it is open."""
    return _columns[of].of(snapshot)


def warm_columns(snapshot, before) -> None:
    """Reads the columns of a snapshot that were read of another, which it is to replace."""
    for kept in _columns.values():
        if (known := kept.made_of(before)) is not None:
            columns = kept.of(snapshot)
            for name in known.read():
                columns.find(name)


def _photo_of_each_caption(snapshot) -> np.ndarray:
    """The row of its photo in the table of images, int64 [captions]."""
    return np.searchsorted(snapshot.image_ids(), snapshot.caption_table()["image_id"].to_numpy())


def _gather(value: object, name: str, row: int, gathered: dict, depth: int) -> None:
    """Puts the values that are somewhere in a JSON value where they belong; what is nested too deep is no column."""
    if isinstance(value, dict) and depth:
        for key, inner in value.items():
            _gather(inner, f"{name}.{key}" if name else key, row, gathered, depth - 1)
    elif isinstance(value, list) and depth:
        for inner in value:
            _gather(inner, name, row, gathered, depth - 1)
    elif isinstance(value, (str, bool, int, float)):
        kind = "text" if isinstance(value, str) else "truth" if isinstance(value, bool) else "number"
        rows, values = gathered.setdefault(name, {}).setdefault(kind, ([], []))
        rows.append(row)
        values.append(value)
    elif name and not isinstance(value, (dict, list)):
        gathered.setdefault(name, {})


def _arrow(kind: Kind, values: list) -> pa.Array:
    if kind == "text":
        return pa.array([value.encode("utf-8", "replace").decode("utf-8") for value in values], pa.string())
    if kind == "truth":
        return pa.array(values, pa.bool_())
    whole = all(isinstance(value, int) and abs(value) < 2**63 for value in values)
    return pa.array(values if whole else [float(value) for value in values], pa.int64() if whole else pa.float64())


def no_values(kinds: dict[Kind, Values]) -> bool:
    """Whether a column is empty in every row."""
    return all(len(values.rows) == 0 for values in kinds.values())


def texts_as_times(texts: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Texts as timestamps without zone, microseconds; null where a text is no date.

    ISO 8601 and EXIF's `2024:05:01 12:30:00` are read; a zone is passed over, so that times are as the clock showed them.
    """
    once = pc.dictionary_encode(texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts)
    times = pa.array([_time(text) for text in once.dictionary.to_pylist()], pa.timestamp("us"))
    return times.take(once.indices)


def _time(text: str) -> datetime | None:
    text = text.strip()
    if text[4:5] == ":" and text[7:8] == ":":
        text = f"{text[:4]}-{text[5:7]}-{text[8:]}"
    try:
        return datetime.fromisoformat(text).replace(tzinfo=None)
    except ValueError:
        return None
