"""The index files of a version."""

from pathlib import Path

import numpy as np

from storage.files import TEMPORARY, make_folder, move_into_place, remove
from storage.segment_reader import Segment
from storage.vectors import FaissFlatIndex

IMAGES, CAPTIONS = "images.faiss", "captions.faiss"
ROWS_AT_ONCE = 16384


def write_index(final: Path, segments: list[Segment], dead: np.ndarray) -> str:
    """Both index files of all images but the `dead` (int64 ids) and their captions, durable; the folder's name."""
    temporary = final.with_name(TEMPORARY + final.name)
    remove(temporary)
    remove(final)
    make_folder(temporary)
    images, captions = (FaissFlatIndex(segments[0].info.dim) for _ in range(2))
    for segment in segments:
        living, told = living_rows(segment, dead)
        _add(images, segment.image_ids, segment.image_vectors, living)
        _add(captions, segment.caption_ids, segment.caption_vectors, told)
    images.save(temporary / IMAGES)
    captions.save(temporary / CAPTIONS)
    move_into_place(temporary, final)
    return final.name


def living_rows(segment: Segment, dead: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows of a segment's images that are not `dead` (int64 ids), and those of their captions."""
    owners = segment.captions["image_id"].to_numpy()
    return np.flatnonzero(~np.isin(segment.image_ids, dead)), np.flatnonzero(~np.isin(owners, dead))


def _add(index: FaissFlatIndex, ids: np.ndarray, vectors: np.ndarray, rows: np.ndarray) -> None:
    for start in range(0, len(rows), ROWS_AT_ONCE):
        part = rows[start : start + ROWS_AT_ONCE]
        index.add(ids[part], vectors[part])
