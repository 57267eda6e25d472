"""What is known of an image and of a caption, and the columns it is kept in."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import pyarrow as pa

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
    ]
)
CAPTION_SCHEMA = pa.schema(
    [
        pa.field("caption_id", pa.int64(), nullable=False),
        pa.field("image_id", pa.int64(), nullable=False),
        pa.field("language", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("origin", pa.string(), nullable=False),
    ]
)
THUMBNAIL_SCHEMA = pa.schema(
    [pa.field("image_id", pa.int64(), nullable=False), pa.field("jpeg", pa.large_binary(), nullable=False)]
)


@dataclass(frozen=True)
class ImageRecord:
    """One photo: `uri` is its absolute path, `width` and `height` are upright pixels, `bytes` is the file's size.

    `source` is the absolute path of the source it came from; `metadata` is what the source said of it (JSON values).
    """

    image_id: int
    uri: str
    sha256: str
    width: int
    height: int
    bytes: int
    source: str
    metadata: dict = field(default_factory=dict)


@dataclass(frozen=True)
class CaptionRecord:
    """One sentence about one photo. `language` is "en" or "zh"; `origin` says where the source had it from."""

    caption_id: int
    image_id: int
    language: str
    text: str
    origin: str


def images_to_table(records: list[ImageRecord]) -> pa.Table:
    """The records as rows of images.parquet."""
    rows = [{**vars(record), "metadata": json.dumps(record.metadata)} for record in records]
    return pa.Table.from_pylist(rows, schema=IMAGE_SCHEMA)


def table_to_images(table: pa.Table) -> list[ImageRecord]:
    """Rows of images.parquet as records."""
    return [ImageRecord(**{**row, "metadata": json.loads(row["metadata"])}) for row in table.to_pylist()]


def captions_to_table(records: list[CaptionRecord]) -> pa.Table:
    """The records as rows of captions.parquet."""
    return pa.Table.from_pylist([vars(record) for record in records], schema=CAPTION_SCHEMA)


def table_to_captions(table: pa.Table) -> list[CaptionRecord]:
    """Rows of captions.parquet as records."""
    return [CaptionRecord(**row) for row in table.to_pylist()]
