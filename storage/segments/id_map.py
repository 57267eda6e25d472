"""The map from ids to rows of segments."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from storage.errors import UnknownId

Ids = Sequence[int] | np.ndarray


class IdMap:
    """The segment and the row of each id.

    Attributes:
        ids: Int64 [n], sorted upwards.
        segments: Int32 [n], beside each id the number of its segment.
        rows: Int32 [n], beside each id its row in that segment.
    """

    def __init__(self, ids_by_segment: list[np.ndarray], hidden: np.ndarray):
        """Index the ids of some segments.

        Args:
            ids_by_segment: The ids of each segment, int64, in any order.
            hidden: Ids to leave out, int64.
        """
        sizes = [len(ids) for ids in ids_by_segment]
        ids = _joined(ids_by_segment, np.int64)
        order = np.argsort(ids, kind="stable")
        self._order = order[~np.isin(ids[order], hidden)].astype(np.int32 if len(ids) < 2**31 else np.int64)
        self.ids = ids[self._order]
        self.segments = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)[self._order]
        self.rows = _joined([np.arange(size, dtype=np.int32) for size in sizes], np.int32)[self._order]

    def column(self, by_segment: list[np.ndarray], dtype: type) -> np.ndarray:
        """Reorder a column, which is given segment by segment, so that it stands beside `ids`."""
        return _joined(by_segment, dtype)[self._order]

    def table(self, by_segment: list[pa.Table], schema: pa.Schema) -> pa.Table:
        """Reorder the rows of a table, which is given segment by segment, so that they stand beside `ids`."""
        return pa.concat_tables([schema.empty_table(), *by_segment]).take(self._order)

    def positions(self, wanted: np.ndarray, kind: str) -> np.ndarray:
        """Find the positions of some ids, int64 [m], in `ids`.

        Raises:
            UnknownId: An id isn't there; the error calls it an id of this `kind`.
        """
        positions = np.searchsorted(self.ids, wanted)
        known = positions < len(self.ids)
        known[known] = self.ids[positions[known]] == wanted[known]
        if not known.all():
            raise UnknownId(kind, int(wanted[~known][0]))
        return positions


def as_ids(ids: Ids, kind: str) -> np.ndarray:
    """Turn ids into int64 [n].

    Raises:
        UnknownId: A number is too large for any id.
    """
    try:
        return np.asarray(ids, np.int64).reshape(-1)
    except OverflowError as error:
        raise UnknownId(kind, max((int(one) for one in ids), key=abs)) from error


def _joined(parts: list[np.ndarray], dtype: type) -> np.ndarray:
    return np.concatenate([np.empty(0, dtype), *parts])
