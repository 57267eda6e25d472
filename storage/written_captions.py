"""Captions that a model has written and that are not published yet, kept by the content of the photo.

They wait in `written/`, a file for each batch. A photo that is moved or indexed again meanwhile gets its caption all the same;
a photo that is gone by then gets none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from storage.arrow_compute import pc
from storage.files import remove
from storage.segments.segment_set import SegmentSet
from storage.waiting_files import add_waiting, remove_waiting, waiting_files

FOLDER = "written"
SCHEMA = pa.schema(
    [
        pa.field("sha256", pa.string(), nullable=False),
        pa.field("language", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("origin", pa.string(), nullable=False),
        pa.field("log_probability", pa.float64(), nullable=False),
        pa.field("encoder", pa.string(), nullable=False),
        pa.field("vector", pa.large_binary(), nullable=False),
    ]
)


@dataclass(frozen=True)
class WrittenText:
    """A caption of every photo that has one content.

    Attributes:
        sha256: The content of the photos, in hex digits.
        language: A code such as "en" or "zh".
        text: The caption.
        origin: "generated:" and the fingerprint of the model that wrote it.
        log_probability: The natural logarithm of its probability.
    """

    sha256: str
    language: str
    text: str
    origin: str
    log_probability: float


@dataclass(frozen=True, eq=False)
class WrittenBatch:
    """Captions that were written together.

    Attributes:
        captions: n captions.
        encoder: The fingerprint of the encoder that made the vectors.
        vectors: Float16 [n, D].
    """

    captions: list[WrittenText]
    encoder: str
    vectors: np.ndarray


def add_written(collection: Path, batch: WrittenBatch) -> None:
    """Keep a batch until it is published. It is durable when this returns."""
    vectors = np.asarray(batch.vectors, np.float16)
    rows = [
        {**vars(caption), "encoder": batch.encoder, "vector": vector.tobytes()}
        for caption, vector in zip(batch.captions, vectors, strict=True)
    ]
    before = waiting_files(collection / FOLDER)
    number = int(before[-1].name[:8]) + 1 if before else 1
    add_waiting(collection / FOLDER, pa.Table.from_pylist(rows, schema=SCHEMA), f"{number:08d}-")


def written_files(collection: Path) -> list[Path]:
    """The files of what waits, oldest first."""
    return waiting_files(collection / FOLDER)


def remove_written(collection: Path, files: Iterable[Path]) -> None:
    """Remove files whose captions are published."""
    remove_waiting(collection / FOLDER, files)


def written_contents(files: Iterable[Path], origin: str, language: str) -> list[str]:
    """The contents that have a waiting caption of this origin in this language; files that are damaged count as empty."""
    found: list[str] = []
    for path in files:
        table = _read(path, ["sha256", "language", "origin"])
        mine = pc.and_(pc.equal(table["origin"], origin), pc.equal(table["language"], language))
        found += table["sha256"].filter(mine).to_pylist()
    return found


def written_batches(files: Iterable[Path]) -> Iterator[WrittenBatch]:
    """What waits, file by file; those that are damaged are removed, so that their photos are written of again."""
    for path in files:
        table = _read(path, SCHEMA.names)
        if not table.num_rows:
            remove(path)
            continue
        vectors = np.stack([np.frombuffer(vector, np.float16) for vector in table["vector"].to_pylist()])
        captions = [WrittenText(**row) for row in table.drop_columns(["encoder", "vector"]).to_pylist()]
        yield WrittenBatch(captions, table["encoder"][0].as_py(), vectors)


class PhotosByContent:
    """The ids of a version's images by the content of their files."""

    def __init__(self, rows: SegmentSet):
        """Read the contents of all images."""
        contents = contents_of(rows)
        order = np.argsort(contents, kind="stable")
        self._contents, self._ids = contents[order], rows.image_ids()[order]

    def ids(self, contents: Sequence[str]) -> list[np.ndarray]:
        """The ids of the images of each content, int64, sorted upwards; none if no image has it."""
        wanted = np.array(contents, "S64")
        starts, ends = (np.searchsorted(self._contents, wanted, side) for side in ("left", "right"))
        return [self._ids[start:end] for start, end in zip(starts, ends, strict=True)]


def contents_of(rows: SegmentSet) -> np.ndarray:
    """The SHA-256 of each image's file, in hex digits, bytes [n] in the order of `rows.image_ids()`."""
    return rows.image_table()["sha256"].to_numpy(zero_copy_only=False).astype("S64")


def _read(path: Path, columns: list[str]) -> pa.Table:
    """The columns of a file; without rows if it is damaged."""
    try:
        return pq.read_table(path, columns=columns)
    except (OSError, ValueError, pa.ArrowException):
        return pa.schema([SCHEMA.field(name) for name in columns]).empty_table()
