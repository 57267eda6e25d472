"""Reading a segment, and refusing one whose files don't agree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from storage.errors import BrokenSegment
from storage.files import give_back, sha256_of
from storage.segments.builder import SegmentInfo, refusal
from storage.segments.schemas import CAPTION_SCHEMA, IMAGE_SCHEMA


class Segment:
    """An open segment. Row i of every image array belongs to image_ids[i], row j of caption arrays to caption_ids[j].

    Beside caption_ids are `owners` int64, the captions' images, and `language_codes` int32, places in `languages`. Everything
    is opened here, so that a segment that is removed later can still be read to the end.
    """

    def __init__(self, folder: Path, held: bool = True):
        """`held` says whether the rows of images and captions stay in memory, for who asks for a few of them again and again;
        else they are read anew for whoever asks. Raises BrokenSegment or UnreadableSegment."""
        self.folder, self._held = folder, held
        self.info = SegmentInfo.load(folder)
        self._check_sizes()
        try:
            self._open()
        except (OSError, ValueError, pa.ArrowException) as error:
            raise refusal(folder, error) from error
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
        """Read every byte and compare with the recorded checksums. Raises BrokenSegment."""
        for name, recorded in self.info.files.items():
            try:
                content = sha256_of(self.folder / name)
            except FileNotFoundError as error:
                raise BrokenSegment(self.folder, f"{name} is gone") from error
            if content != recorded["sha256"]:
                raise BrokenSegment(self.folder, f"{name} has changed")

    def thumbnail(self, row: int) -> bytes:
        """The JPEG file of row `row`."""
        return self._thumbnails["jpeg"][row].as_py()

    def give_back(self) -> None:
        """Let the system have the memory of what was read of vectors, tokens and thumbnails."""
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
        self.owners, self.languages, self.language_codes = _told(captions)
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

    def _array(self, name: str, mmap_mode: str | None) -> np.ndarray:
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
    """A file's bytes, which stay in the file, and no open file beside them."""
    with pa.memory_map(str(path)) as file:
        return file.read_buffer()


def _read(file: pa.Buffer, schema: pa.Schema) -> pa.Table:
    return pq.read_table(pa.BufferReader(file), schema=schema)


def _told(captions: pa.Table) -> tuple[np.ndarray, list[str], np.ndarray]:
    """The images that captions belong to, the languages there are, and each caption's as a number among these; nothing that
    would keep the table in memory."""
    languages = captions["language"].combine_chunks().dictionary_encode()
    codes = languages.indices.to_numpy().astype(np.int32)
    return captions["image_id"].to_numpy().copy(), languages.dictionary.to_pylist(), codes
