"""The journal of an unfinished segment: each batch is durable in it before the next one begins."""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from storage.files import remove, sync_folder
from storage.segments.schemas import (
    CAPTION_SCHEMA,
    IMAGE_SCHEMA,
    CaptionRecord,
    ImageRecord,
    captions_to_table,
    images_to_table,
    table_to_captions,
    table_to_images,
)

ENDING = ".journal"
HEAD = struct.Struct("<cQ32s")  # the kind of payload, its length, its SHA-256
ABOUT, IMAGES, CAPTIONS = b"a", b"i", b"c"


@dataclass(frozen=True)
class ImageBatch:
    """Images that were encoded together.

    Attributes:
        images: n records.
        vectors: Float [n, D].
        tokens: Float [n, L, H].
        thumbnails: n JPEG files.
        coming: The captions of these images, which may be encoded later.
    """

    images: list[ImageRecord]
    vectors: np.ndarray
    tokens: np.ndarray
    thumbnails: list[bytes]
    coming: list[CaptionRecord] = field(default_factory=list)


@dataclass(frozen=True)
class CaptionBatch:
    """Captions that were encoded together; `vectors` is float [m, D]."""

    captions: list[CaptionRecord]
    vectors: np.ndarray


class Journal:
    """A file of frames, each with its length and checksum. What follows the last whole frame was never acknowledged."""

    def __init__(self, path: Path):
        """Continue a journal that `create` began. The next `append` cuts off a torn frame at its end."""
        self._path = path
        self._end: int | None = None

    @classmethod
    def create(cls, path: Path, about: dict) -> Journal:
        """Begin a journal; `about` describes the segment, as JSON values."""
        journal = cls(path)
        path.touch()
        journal._append(ABOUT, json.dumps(about).encode())
        sync_folder(path.parent)
        return journal

    def about(self) -> dict | None:
        """The description that `create` was given; None if the journal has not even that."""
        kind, payload = next(self._frames(), (None, b""))
        return json.loads(payload) if kind == ABOUT else None

    def batches(self) -> Iterator[ImageBatch | CaptionBatch]:
        """All batches that were acknowledged, in order."""
        about = self.about()
        if about is None:
            return
        for kind, payload in self._frames():
            if kind == IMAGES:
                yield _unpacked_images(payload, about["dim"], about["token_shape"])
            elif kind == CAPTIONS:
                yield _unpacked_captions(payload, about["dim"])

    def append(self, batch: ImageBatch | CaptionBatch) -> None:
        """Append a batch. It is durable when this returns; after an error nobody sees any of it."""
        if isinstance(batch, ImageBatch):
            self._append(IMAGES, _packed_images(batch))
        else:
            self._append(CAPTIONS, _packed_captions(batch))

    def remove(self) -> None:
        """Remove the journal of a segment that is finished or dropped."""
        remove(self._path)

    def _append(self, kind: bytes, payload: bytes) -> None:
        if self._end is None:
            self._end = sum(HEAD.size + len(content) for _, content in self._frames())
        with open(self._path, "r+b") as file:
            file.seek(self._end)
            file.truncate()
            file.write(HEAD.pack(kind, len(payload), hashlib.sha256(payload).digest()))
            file.write(payload)
            file.flush()
            os.fsync(file.fileno())
        self._end += HEAD.size + len(payload)

    def _frames(self) -> Iterator[tuple[bytes, bytes]]:
        """The kind and payload of every whole frame, up to the first that is not whole."""
        with open(self._path, "rb") as file:
            while len(head := file.read(HEAD.size)) == HEAD.size:
                kind, length, digest = HEAD.unpack(head)
                payload = file.read(length) if length <= self._path.stat().st_size else b""
                if len(payload) != length or hashlib.sha256(payload).digest() != digest:
                    return
                yield kind, payload


def _packed_images(batch: ImageBatch) -> bytes:
    table = images_to_table(batch.images)
    table = table.append_column("jpeg", pa.array(batch.thumbnails, pa.large_binary()))
    table = table.append_column("vector", _binary_rows(batch.vectors))
    table = table.append_column("tokens", _binary_rows(batch.tokens))
    return _streams(table, captions_to_table(batch.coming))


def _unpacked_images(payload: bytes, dim: int, token_shape: list[int]) -> ImageBatch:
    reader = pa.BufferReader(payload)
    table, coming = (pa.ipc.open_stream(reader).read_all() for _ in range(2))
    return ImageBatch(
        images=table_to_images(_known_columns(table, IMAGE_SCHEMA)),
        vectors=_array(table["vector"], (dim,)),
        tokens=_array(table["tokens"], tuple(token_shape)),
        thumbnails=table["jpeg"].to_pylist(),
        coming=table_to_captions(coming),
    )


def _packed_captions(batch: CaptionBatch) -> bytes:
    return _streams(captions_to_table(batch.captions).append_column("vector", _binary_rows(batch.vectors)))


def _unpacked_captions(payload: bytes, dim: int) -> CaptionBatch:
    table = pa.ipc.open_stream(payload).read_all()
    return CaptionBatch(table_to_captions(_known_columns(table, CAPTION_SCHEMA)), _array(table["vector"], (dim,)))


def _known_columns(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The columns of a schema that a table has; one of an older program lacks the later ones."""
    return table.select([name for name in schema.names if name in table.column_names])


def _streams(*tables: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    for table in tables:
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
    return sink.getvalue().to_pybytes()


def _binary_rows(array: np.ndarray) -> pa.Array:
    return pa.array([row.tobytes() for row in np.asarray(array, np.float16)], pa.large_binary())


def _array(column: pa.ChunkedArray, shape: tuple[int, ...]) -> np.ndarray:
    return np.frombuffer(b"".join(column.to_pylist()), np.float16).reshape(-1, *shape)
