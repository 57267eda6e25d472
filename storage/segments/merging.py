"""Merging of segments: frequent small additions leave many small ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from storage.segments.builder import CAPTION, MERGE, SegmentBuilder, SegmentInfo
from storage.segments.living import mentions
from storage.segments.reader import Segment
from storage.segments.segment_set import SegmentSet

SMALL = 1024
MAX_SMALL = 16
FULL = 4096
CAPTIONS_AN_IMAGE = 8
"""A segment of captions alone is as large as one of images is with so many captions an image."""
ROWS_AT_ONCE = 256


def too_many_small(segments: list[Segment]) -> list[Segment]:
    """The segments to merge after a publication; none while there are few small ones, because a merge copies them."""
    small = [segment for segment in segments if _is_small(segment.info)]
    return small if len(small) > MAX_SMALL else []


def needs_compaction(segments: list[Segment], dead: np.ndarray) -> list[Segment]:
    """The segments that compaction writes anew.

    These are the segments that hold deleted images or captions of them, and the small ones. One small segment alone is no
    reason to compact; nor is a small one of captions alone beside it, whose images are elsewhere.

    Args:
        segments: All segments of the version.
        dead: The ids of deleted images, int64.
    """
    holding = [segment for segment in segments if len(mentions(segment, dead))]
    small = [segment for segment in segments if _is_small(segment.info) and segment not in holding]
    captions, images = ([one for one in small if (one.info.purpose == CAPTION) is alone] for alone in (True, False))
    apart = any(np.isin(one.owners, other.image_ids).any() for one in captions for other in images)
    return holding + small if holding or apart or max(len(captions), len(images)) > 1 else []


def merge(
    segments: list[Segment], tombstones: Iterable[int], living: np.ndarray, begin: Callable[[str], SegmentBuilder]
) -> list[str]:
    """Copy the living images and captions into new segments, under the same ids.

    Captions go beside their images, if these are among what is merged; the others stay in segments of captions alone.

    Args:
        segments: What is merged.
        tombstones: The ids of deleted images.
        living: The ids of all living images of the version, int64.
        begin: Begins a new segment of a purpose.

    Returns:
        The names of the new segments. There is at least one if there was one before, even if all images are deleted.
    """
    rows, names = SegmentSet(segments, sorted(tombstones), living), []
    ids, others = rows.image_ids(), rows.caption_ids_of_others()
    for start in range(0, max(len(ids), 1 if segments and not len(others) else 0), FULL):
        builder = begin(MERGE)
        _copy(rows, ids[start : start + FULL], builder)
        names.append(builder.finish())
        rows.give_back()
    for start in range(0, len(others), FULL * CAPTIONS_AN_IMAGE):
        part = others[start : start + FULL * CAPTIONS_AN_IMAGE]
        builder = begin(CAPTION)
        builder.add_captions(rows.captions(part), rows.caption_vectors(part))
        names.append(builder.finish())
        rows.give_back()
    return names


def _is_small(info: SegmentInfo) -> bool:
    return info.images < SMALL and info.captions < SMALL * CAPTIONS_AN_IMAGE


def _copy(rows: SegmentSet, ids: np.ndarray, builder: SegmentBuilder) -> None:
    """Copy images and their captions; tokens and thumbnails, which are large, a few at a time."""
    records, vectors = rows.images(ids), rows.image_vectors(ids)
    for start in range(0, len(ids), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        thumbnails = [rows.thumbnail(image_id) for image_id in ids[part]]
        builder.add_images(records[part], vectors[part], rows.tokens(ids[part]), thumbnails)
    captions = [caption for own in rows.captions_of(ids).values() for caption in own]
    builder.add_captions(captions, rows.caption_vectors([caption.caption_id for caption in captions]))
