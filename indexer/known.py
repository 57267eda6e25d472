"""What the collection already holds, so that nothing is encoded twice."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from indexer.items import description_of
from storage.records import CaptionRecord, ImageRecord
from storage.segment_set import SegmentSet
from storage.segments import SegmentBuilder

ROWS_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)
class Known:
    """An image of the collection: its content, and a hash of what is said of it. `rows` can give its arrays, once its
    segment is finished; `published` tells it from what an interrupted run left behind."""

    uri: str
    image_id: int
    sha256: str
    description: str
    source: str
    published: bool
    rows: SegmentSet | None


def known_images(rows: SegmentSet, published: bool) -> Iterator[Known]:
    """What is known of each living image, by id upwards."""
    for records in record_batches(rows):
        captions = rows.captions_of([record.image_id for record in records])
        for record in records:
            yield _known(record, captions[record.image_id], published, rows)


def begun_images(segment: SegmentBuilder | None) -> Iterator[Known]:
    """The same of the segment in the making that an interrupted run left behind."""
    if segment is None:
        return
    captions: dict[int, list[CaptionRecord]] = {}
    for caption in segment.captions:
        captions.setdefault(caption.image_id, []).append(caption)
    for record in segment.images:
        yield _known(record, captions.get(record.image_id, []), False, None)


def _known(record: ImageRecord, captions: list[CaptionRecord], published: bool, rows: SegmentSet | None) -> Known:
    description = description_of(captions, record.metadata)
    source = sys.intern(record.source)
    return Known(record.uri, record.image_id, record.sha256, description, source, published, rows)


def record_batches(rows: SegmentSet) -> Iterator[list[ImageRecord]]:
    """All records by id upwards, a few thousand at a time."""
    ids = rows.image_ids()
    for start in range(0, len(ids), ROWS_AT_ONCE):
        yield rows.images(ids[start : start + ROWS_AT_ONCE])


def arrays_of(known: list[Known]) -> tuple[np.ndarray, np.ndarray]:
    """Vectors float32 [n, D] and tokens float16 [n, L, H] of images in finished segments; n is at least 1."""
    vectors = [one.rows.image_vectors([one.image_id])[0] for one in known]
    tokens = [one.rows.tokens([one.image_id])[0] for one in known]
    return np.stack(vectors), np.stack(tokens)
