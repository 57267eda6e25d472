"""Merging of segments: frequent small additions leave many small ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from storage.segments.builder import SegmentBuilder
from storage.segments.reader import Segment
from storage.segments.segment_set import SegmentSet

SMALL = 1024
MAX_SMALL = 16
FULL = 4096
ROWS_AT_ONCE = 256


def too_many_small(segments: list[Segment]) -> list[Segment]:
    """The segments to merge after a publication; none while there are few small ones, because a merge copies them."""
    small = [segment for segment in segments if segment.info.images < SMALL]
    return small if len(small) > MAX_SMALL else []


def needs_compaction(segments: list[Segment], dead: np.ndarray) -> list[Segment]:
    """The segments that compaction writes anew.

    These are the segments that hold deleted images, and the small ones. One small segment alone is no reason to compact.

    Args:
        segments: All segments of the version.
        dead: The ids of deleted images, int64.
    """
    holding = [segment for segment in segments if np.isin(segment.image_ids, dead).any()]
    small = [segment for segment in segments if segment.info.images < SMALL and segment not in holding]
    return holding + small if holding or len(small) > 1 else []


def merge(segments: list[Segment], tombstones: Iterable[int], begin: Callable[[], SegmentBuilder]) -> list[str]:
    """Copy the living images and captions into new segments, under the same ids.

    Args:
        segments: What is merged.
        tombstones: The ids of deleted images.
        begin: Begins a new segment.

    Returns:
        The names of the new segments. There is at least one if there was one before, even if all images are deleted.
    """
    rows, names = SegmentSet(segments, sorted(tombstones)), []
    ids = rows.image_ids()
    for start in range(0, max(len(ids), min(len(segments), 1)), FULL):
        builder = begin()
        _copy(rows, ids[start : start + FULL], builder)
        names.append(builder.finish())
        rows.give_back()
    return names


def _copy(rows: SegmentSet, ids: np.ndarray, builder: SegmentBuilder) -> None:
    """Copy images and their captions; tokens and thumbnails, which are large, a few at a time."""
    records, vectors = rows.images(ids), rows.image_vectors(ids)
    for start in range(0, len(ids), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        thumbnails = [rows.thumbnail(image_id) for image_id in ids[part]]
        builder.add_images(records[part], vectors[part], rows.tokens(ids[part]), thumbnails)
    captions = [caption for own in rows.captions_of(ids).values() for caption in own]
    builder.add_captions(captions, rows.caption_vectors([caption.caption_id for caption in captions]))
