"""Captions that a model wrote, which a photo keeps as long as its content is the same."""

from __future__ import annotations

import numpy as np

from storage.segments.schemas import CaptionRecord, table_to_captions
from storage.segments.segment_set import SegmentSet


class KeptCaptions:
    """The captions of a version that a model wrote, by image; some 100 bytes each, read at once."""

    def __init__(self, rows: SegmentSet) -> None:
        table = rows.generated_captions()
        owners = table["image_id"].to_numpy()
        order = np.argsort(owners, kind="stable")
        self._owners, self._table = owners[order], table.take(order)

    def of(self, image_id: int) -> list[CaptionRecord]:
        """Those of one image."""
        start, end = (int(np.searchsorted(self._owners, image_id, side)) for side in ("left", "right"))
        return table_to_captions(self._table.slice(start, end - start)) if end > start else []
