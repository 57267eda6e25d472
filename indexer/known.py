"""What the collection already holds, so that nothing is encoded twice."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from indexer.items import description_of
from storage.records import ImageRecord
from storage.segment_set import SegmentSet

ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class Known:
    """An image of the collection: its content, and a hash of what is said of it. `origin` can give its arrays."""

    uri: str
    image_id: int
    sha256: str
    description: str
    origin: SegmentSet


def known_images(rows: SegmentSet) -> list[Known]:
    """What is known of each living image, by id upwards."""
    found = []
    for records in record_batches(rows):
        captions = rows.captions_of([record.image_id for record in records])
        for record in records:
            description = description_of(captions[record.image_id], record.metadata)
            found.append(Known(record.uri, record.image_id, record.sha256, description, rows))
    return found


def record_batches(rows: SegmentSet) -> Iterator[list[ImageRecord]]:
    """All records by id upwards, a few thousand at a time."""
    ids = rows.image_ids()
    for start in range(0, len(ids), ROWS_AT_ONCE):
        yield rows.images(ids[start : start + ROWS_AT_ONCE])


def arrays_of(known: list[Known]) -> tuple[np.ndarray, np.ndarray]:
    """Vectors float32 [n, D] and tokens float16 [n, L, H] of images that were encoded before; n is at least 1."""
    vectors = [one.origin.image_vectors([one.image_id])[0] for one in known]
    tokens = [one.origin.tokens([one.image_id])[0] for one in known]
    return np.stack(vectors), np.stack(tokens)
