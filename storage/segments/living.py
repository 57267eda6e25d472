"""Which images and captions of a version's segments live.

An image lives if it has no tombstone. A caption lives if its image does, in whichever segment that is.
"""

from __future__ import annotations

import numpy as np

from storage.segments.reader import Segment


def living_images(segments: list[Segment], dead: np.ndarray) -> np.ndarray:
    """The ids of all living images, int64, sorted upwards; `dead` are ids of deleted images, int64."""
    return np.setdiff1d(np.concatenate([np.empty(0, np.int64), *(segment.image_ids for segment in segments)]), dead)


def living_captions(segment: Segment, dead: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Which captions of a segment live, bool [m].

    Args:
        segment: The segment.
        dead: The ids of deleted images, int64.
        images: The ids of the version's living images, int64.
    """
    if segment.info.images:  # all of its captions are of its own images
        return ~np.isin(segment.owners, dead)
    return np.isin(segment.owners, images)


def living_rows(segments: list[Segment], dead: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Of each segment the rows of its living images, and of its living captions, int64; `dead` as above."""
    images = living_images(segments, dead)
    return [
        (np.flatnonzero(~np.isin(one.image_ids, dead)), np.flatnonzero(living_captions(one, dead, images))) for one in segments
    ]


def mentions(segment: Segment, dead: np.ndarray) -> np.ndarray:
    """The ids of deleted images of which a segment has a row or a caption, int64: their tombstones are needed still."""
    return np.intersect1d(np.concatenate([segment.image_ids, segment.owners]), dead)
