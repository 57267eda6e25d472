"""From ids to rows of segments."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from storage.errors import UnknownId


class IdMap:
    """Where each id is: `ids` int64 upwards, and beside each its segment's number and its row in that segment, int32."""

    def __init__(self, ids_by_segment: list[np.ndarray], hidden: np.ndarray):
        """`hidden` int64: ids to leave out."""
        sizes = [len(ids) for ids in ids_by_segment]
        ids = _joined(ids_by_segment, np.int64)
        order = np.argsort(ids, kind="stable")
        self._order = order[~np.isin(ids[order], hidden)].astype(np.int32 if len(ids) < 2**31 else np.int64)
        self.ids = ids[self._order]
        self.segments = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)[self._order]
        self.rows = _joined([np.arange(size, dtype=np.int32) for size in sizes], np.int32)[self._order]

    def column(self, by_segment: list[np.ndarray], dtype: type) -> np.ndarray:
        """A column that is given segment by segment, as a column beside `ids`."""
        return _joined(by_segment, dtype)[self._order]

    def table(self, by_segment: list[pa.Table], schema: pa.Schema) -> pa.Table:
        """A table that is given segment by segment, as a table whose rows stand beside `ids`."""
        return pa.concat_tables([schema.empty_table(), *by_segment]).take(self._order)

    def positions(self, asked: np.ndarray, kind: str) -> np.ndarray:
        """Where each of the ids int64 [n] stands in `ids`. Raises UnknownId, which names `kind`."""
        positions = np.searchsorted(self.ids, asked)
        known = positions < len(self.ids)
        known[known] = self.ids[positions[known]] == asked[known]
        if not known.all():
            raise UnknownId(kind, int(asked[~known][0]))
        return positions


def as_ids(ids: object, kind: str) -> np.ndarray:
    """Whatever was asked for as int64 [n]. Raises UnknownId for a number that no id can be."""
    try:
        return np.asarray(ids, np.int64).reshape(-1)
    except OverflowError as error:
        raise UnknownId(kind, max(ids, key=abs)) from error


def _joined(parts: list[np.ndarray], dtype: type) -> np.ndarray:
    return np.concatenate([np.empty(0, dtype), *parts])
