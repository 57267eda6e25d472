"""The index files of a version."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from storage.files import TEMPORARY, make_folder, move_into_place, remove
from storage.segments.reader import Segment
from storage.vector_index.selection import IndexBudget, VectorRows, write_chosen

IMAGES, CAPTIONS = "images.faiss", "captions.faiss"


def write_index(final: Path, segments: list[Segment], dead: np.ndarray, budget: IndexBudget) -> str:
    """Both index files of all images but the `dead` (int64 ids) and their captions, durable; the folder's name."""
    temporary = final.with_name(TEMPORARY + final.name)
    remove(temporary)
    remove(final)
    make_folder(temporary)
    images, captions = [], []
    for segment in segments:
        living, told = living_rows(segment, dead)
        images.append((segment.image_ids, segment.image_vectors, living))
        captions.append((segment.caption_ids, segment.caption_vectors, told))
    write_chosen(temporary, segments[0].info.dim, VectorRows(images), VectorRows(captions), budget)
    move_into_place(temporary, final)
    return final.name


def living_rows(segment: Segment, dead: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows of a segment's images that are not `dead` (int64 ids), and those of their captions."""
    return np.flatnonzero(~np.isin(segment.image_ids, dead)), np.flatnonzero(~np.isin(segment.owners, dead))
