"""The records of images and captions, and the columns of their tables on disk."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from storage.origins import is_generated

IMAGE_SCHEMA = pa.schema(
    [
        pa.field("image_id", pa.int64(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        pa.field("sha256", pa.string(), nullable=False),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("metadata", pa.string(), nullable=False),
        pa.field("embedded", pa.string()),
    ]
)
"""Segments and journals of older programs have no column `embedded`; it is read as null."""
CAPTION_SCHEMA = pa.schema(
    [
        pa.field("caption_id", pa.int64(), nullable=False),
        pa.field("image_id", pa.int64(), nullable=False),
        pa.field("language", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("origin", pa.string(), nullable=False),
        pa.field("log_probability", pa.float64()),
    ]
)
"""Segments and journals of older programs have no column `log_probability`; it is read as null."""
THUMBNAIL_SCHEMA = pa.schema(
    [pa.field("image_id", pa.int64(), nullable=False), pa.field("jpeg", pa.large_binary(), nullable=False)]
)


@dataclass(frozen=True)
class ImageRecord:
    """One photo.

    Attributes:
        image_id: The id, never used for another photo of the collection.
        uri: Where the photo is; see `storage.photo_uri`.
        sha256: The SHA-256 of the file, in hex digits.
        width: Pixels, after the photo was turned upright.
        height: Pixels, after the photo was turned upright.
        bytes: The size of the file.
        source: The absolute path of the source that the photo came from.
        metadata: What the source says about the photo, as JSON values.
        embedded: What the photo's file says of itself, such as when it was taken; None in what older programs indexed.
    """

    image_id: int
    uri: str
    sha256: str
    width: int
    height: int
    bytes: int
    source: str
    metadata: dict = field(default_factory=dict)
    embedded: dict | None = None

    @property
    def all_metadata(self) -> dict:
        """What the source and the file say; the source's word is the last."""
        return {**(self.embedded or {}), **self.metadata}


@dataclass(frozen=True)
class CaptionRecord:
    """One sentence about one photo.

    Attributes:
        caption_id: The id, never used for another caption of the collection.
        image_id: The photo's id.
        language: A code such as "en" or "zh".
        text: The sentence.
        origin: Where the source found the sentence; "generated:" and a fingerprint, if a model wrote it.
        log_probability: The natural logarithm of its probability by the model that wrote it; None, if people did.
    """

    caption_id: int
    image_id: int
    language: str
    text: str
    origin: str
    log_probability: float | None = None

    @property
    def generated(self) -> bool:
        """True if a model wrote it."""
        return is_generated(self.origin)


def images_to_table(records: Sequence[ImageRecord]) -> pa.Table:
    """Turn records into rows of images.parquet."""
    rows = [
        {
            **vars(record),
            "metadata": json.dumps(record.metadata),
            "embedded": None if record.embedded is None else json.dumps(record.embedded),
        }
        for record in records
    ]
    return pa.Table.from_pylist(rows, schema=IMAGE_SCHEMA)


def table_to_images(table: pa.Table) -> list[ImageRecord]:
    """Turn rows of images.parquet into records."""
    return [
        ImageRecord(
            **{
                **row,
                "metadata": json.loads(row["metadata"]),
                "embedded": None if row.get("embedded") is None else json.loads(row["embedded"]),
            }
        )
        for row in table.to_pylist()
    ]


def captions_to_table(records: Sequence[CaptionRecord]) -> pa.Table:
    """Turn records into rows of captions.parquet."""
    return pa.Table.from_pylist([vars(record) for record in records], schema=CAPTION_SCHEMA)


def table_to_captions(table: pa.Table) -> list[CaptionRecord]:
    """Turn rows of captions.parquet into records."""
    return [CaptionRecord(**row) for row in table.to_pylist()]
