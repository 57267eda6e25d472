"""Reading a segment; one whose files don't agree is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from storage.arrow_compute import pc
from storage.errors import BrokenSegment
from storage.files import give_back, sha256_of
from storage.origins import GENERATED
from storage.segments.builder import SegmentInfo, segment_error
from storage.segments.schemas import CAPTION_SCHEMA, IMAGE_SCHEMA


class Segment:
    """An open segment of n images and m captions.

    Row i of every image array belongs to image_ids[i], row j of every caption array to caption_ids[j]. All files are opened
    at once, so that a segment that is removed later can still be read to the end.

    Attributes:
        folder: The segment's folder.
        info: What segment.json says.
        image_ids: Int64 [n].
        image_vectors: Float16 [n, D], in the file.
        tokens: Float16 [n, L, H], in the file.
        caption_ids: Int64 [m].
        caption_vectors: Float16 [m, D], in the file.
        owners: Int64 [m], the images of the captions.
        languages: The languages of the captions.
        language_codes: Int32 [m], the position of each caption's language in `languages`.
        generated: Bool [m], which captions a model wrote.
    """

    image_ids: np.ndarray
    image_vectors: np.ndarray
    tokens: np.ndarray
    caption_ids: np.ndarray
    caption_vectors: np.ndarray
    owners: np.ndarray
    languages: list[str]
    language_codes: np.ndarray
    generated: np.ndarray

    def __init__(self, folder: Path, held: bool = True):
        """Open a segment.

        Args:
            folder: The segment's folder.
            held: Keep the rows of images and captions in memory, for many small requests; else each request reads them anew.

        Raises:
            BrokenSegment: Files are missing, damaged, or disagree.
            UnreadableSegment: The system refuses to read a file at the moment.
        """
        self.folder, self._held = folder, held
        self.info = SegmentInfo.load(folder)
        self._check_sizes()
        try:
            self._open()
        except (OSError, ValueError, pa.ArrowException) as error:
            raise segment_error(folder, error) from error
        self._check_agreement()

    @property
    def images(self) -> pa.Table:
        """The rows of images.parquet."""
        return self._images if self._held else _read(self._images, IMAGE_SCHEMA)

    @property
    def captions(self) -> pa.Table:
        """The rows of captions.parquet."""
        return self._captions if self._held else _read(self._captions, CAPTION_SCHEMA)

    def verify(self) -> None:
        """Read every byte and compare with the recorded checksums.

        Raises:
            BrokenSegment: A file is gone or has changed.
        """
        for name, recorded in self.info.files.items():
            try:
                content = sha256_of(self.folder / name)
            except FileNotFoundError as error:
                raise BrokenSegment(self.folder, f"{name} is gone") from error
            if content != recorded["sha256"]:
                raise BrokenSegment(self.folder, f"{name} has changed")

    def thumbnail(self, row: int) -> bytes:
        """The JPEG file of an image, by its row."""
        return self._thumbnails["jpeg"][row].as_py()

    def give_back(self) -> None:
        """Return the memory of vectors, tokens and thumbnails that were read to the system."""
        for array in (self.image_vectors, self.caption_vectors, self.tokens, self._thumbnail_file):
            give_back(array)

    def _check_sizes(self) -> None:
        for name, recorded in self.info.files.items():
            path = self.folder / name
            size = path.stat().st_size if path.is_file() else None
            if size != recorded["bytes"]:
                state = "is missing" if size is None else f"has {size} bytes, not {recorded['bytes']}"
                raise BrokenSegment(self.folder, f"{name} {state}")

    def _open(self) -> None:
        self._images, self._captions = (_mapped(self.folder / f"{name}.parquet") for name in ("images", "captions"))
        images, captions = _read(self._images, IMAGE_SCHEMA), _read(self._captions, CAPTION_SCHEMA)
        self.owners, self.languages, self.language_codes = _caption_columns(captions)
        self.generated = pc.starts_with(captions["origin"], GENERATED).to_numpy()
        self._row_ids = images["image_id"].to_numpy(), captions["caption_id"].to_numpy()
        if self._held:
            self._images, self._captions = images, captions
        self.image_ids = self._array("image_ids", None)
        self.caption_ids = self._array("caption_ids", None)
        self.image_vectors = self._array("image_vectors", "r")
        self.caption_vectors = self._array("caption_vectors", "r")
        self.tokens = self._array("image_tokens", "r")
        self._thumbnail_file = np.memmap(self.folder / "thumbnails.arrow", np.uint8, "r")
        self._thumbnails = pa.ipc.open_file(pa.py_buffer(self._thumbnail_file)).read_all()

    def _array(self, name: str, mmap_mode: Literal["r"] | None) -> np.ndarray:
        return np.load(self.folder / f"{name}.npy", mmap_mode=mmap_mode, allow_pickle=False)

    def _check_agreement(self) -> None:
        info, rows = self.info, (self.info.images, self.info.captions)
        image_ids, caption_ids = self._row_ids
        del self._row_ids
        agreements = {
            "images.parquet": np.array_equal(image_ids, self.image_ids),
            "captions.parquet": np.array_equal(caption_ids, self.caption_ids),
            "thumbnails.arrow": np.array_equal(self._thumbnails["image_id"].to_numpy(), self.image_ids),
            "image_ids.npy": self.image_ids.shape == (rows[0],),
            "caption_ids.npy": self.caption_ids.shape == (rows[1],),
            "image_vectors.npy": self.image_vectors.shape == (rows[0], info.dim),
            "caption_vectors.npy": self.caption_vectors.shape == (rows[1], info.dim),
            "image_tokens.npy": self.tokens.shape == (rows[0], *info.token_shape),
        }
        for name, agrees in agreements.items():
            if not agrees:
                raise BrokenSegment(self.folder, f"{name} does not agree with the other files")


def _mapped(path: Path) -> pa.Buffer:
    """Map a file's bytes without keeping the file open."""
    with pa.memory_map(str(path)) as file:
        return file.read_buffer()


def _read(file: pa.Buffer, schema: pa.Schema) -> pa.Table:
    return pq.read_table(pa.BufferReader(file), schema=schema)


def _caption_columns(captions: pa.Table) -> tuple[np.ndarray, list[str], np.ndarray]:
    """`Segment.owners`, `languages` and `language_codes`, in arrays that don't keep the table in memory."""
    languages = captions["language"].combine_chunks().dictionary_encode()
    codes = languages.indices.to_numpy().astype(np.int32)
    return captions["image_id"].to_numpy().copy(), languages.dictionary.to_pylist(), codes
