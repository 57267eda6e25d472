"""The index files of a version."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from storage.files import TEMPORARY, make_folder, move_into_place, remove
from storage.segments.living import living_rows
from storage.segments.reader import Segment
from storage.vector_index.selection import IndexBudget, VectorRows, write_indexes

IMAGES, CAPTIONS = "images.faiss", "captions.faiss"


def write_index(final: Path, segments: list[Segment], dead: np.ndarray, budget: IndexBudget) -> str:
    """Write both index files of a version, durably.

    Args:
        final: The folder to make; what is there is removed.
        segments: The segments of the version, at least one.
        dead: The ids of deleted images, int64; they and their captions are left out.
        budget: What a search may cost.

    Returns:
        The folder's name.
    """
    temporary = final.with_name(TEMPORARY + final.name)
    remove(temporary)
    remove(final)
    make_folder(temporary)
    images, captions = [], []
    for segment, (living_images, living_captions) in zip(segments, living_rows(segments, dead), strict=True):
        images.append((segment.image_ids, segment.image_vectors, living_images))
        captions.append((segment.caption_ids, segment.caption_vectors, living_captions))
    write_indexes(temporary, segments[0].info.dim, VectorRows(images), VectorRows(captions), budget)
    move_into_place(temporary, final)
    return final.name
