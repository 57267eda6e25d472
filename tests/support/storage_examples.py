"""Small collections for the tests of storage."""

from __future__ import annotations

import numpy as np

from storage import CaptionRecord, ImageRecord, SegmentData
from storage.collection import Collection
from storage.verification import read_segments
from storage.writer import Writer
from tests.support.fakes import FakeEncoder, jpeg, photo

ENCODER = FakeEncoder()


def image_record(image_id: int, **changes) -> ImageRecord:
    """An image that is somewhere."""
    values = {
        "image_id": image_id,
        "uri": f"/photos/{image_id}.jpg",
        "sha256": f"{image_id:064x}",
        "width": 48,
        "height": 32,
        "bytes": 1000 + image_id,
        "source": "/photos",
        "metadata": {"number": image_id},
    }
    return ImageRecord(**{**values, **changes})


def damaged_segments(collection: Collection) -> dict[str, str]:
    """What is wrong with each segment of the current version that isn't whole to the last byte, by name."""
    return read_segments(collection.folder, collection.manifest)[1]


def segment_data(colours: dict[int, str], captions: list[CaptionRecord] = ()) -> SegmentData:
    """A segment of one-colour photos: colours by image id."""
    pixels = np.stack([np.asarray(photo(colour, (32, 32))) for colour in colours.values()])
    encoded = ENCODER.encode_images(pixels)
    return SegmentData(
        images=[image_record(image_id) for image_id in colours],
        image_vectors=encoded.vectors,
        tokens=encoded.tokens,
        thumbnails=[jpeg(colour) for colour in colours.values()],
        captions=list(captions),
        caption_vectors=ENCODER.encode_texts([caption.text for caption in captions]).vectors,
    )


def add_colours(writer: Writer, *colours: str) -> list[int]:
    """A segment of photos in these colours, each with an English and a Chinese caption; their ids."""
    ids = {writer.new_image_id(): colour for colour in colours}
    captions = [
        CaptionRecord(writer.new_caption_id(), image_id, language, text, "test")
        for image_id, colour in ids.items()
        for language, text in (("en", f"a {colour} wall"), ("zh", "一面墙"))
    ]
    writer.add_segment(segment_data(ids, captions))
    return list(ids)


def nearest(snapshot, text: str) -> int:
    """The id of the image that a text finds first."""
    return int(snapshot.image_index.search(ENCODER.encode_texts([text]).vectors, 1)[1][0, 0])
