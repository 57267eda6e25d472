"""Reading a segment, and refusing one whose files don't agree."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from storage.errors import BrokenSegment
from storage.files import sha256_of
from storage.records import CAPTION_SCHEMA, IMAGE_SCHEMA
from storage.segments import SegmentInfo, refusal


class Segment:
    """An open segment. Row i of every image array belongs to image_ids[i], row j of caption arrays to caption_ids[j].

    Everything is opened here, so that a segment that is removed later can still be read to the end.
    """

    def __init__(self, folder: Path):
        """Raises BrokenSegment or UnreadableSegment."""
        self.folder = folder
        self.info = SegmentInfo.load(folder)
        self._check_sizes()
        try:
            self._open()
        except (OSError, ValueError, pa.ArrowException) as error:
            raise refusal(folder, error) from error
        self._check_agreement()

    def verify(self) -> None:
        """Read every byte and compare with the recorded checksums. Raises BrokenSegment."""
        for name, recorded in self.info.files.items():
            if sha256_of(self.folder / name) != recorded["sha256"]:
                raise BrokenSegment(self.folder, f"{name} has changed")

    def thumbnail(self, row: int) -> bytes:
        """The JPEG file of row `row`."""
        return self._thumbnails["jpeg"][row].as_py()

    def _check_sizes(self) -> None:
        for name, recorded in self.info.files.items():
            path = self.folder / name
            size = path.stat().st_size if path.is_file() else None
            if size != recorded["bytes"]:
                state = "is missing" if size is None else f"has {size} bytes, not {recorded['bytes']}"
                raise BrokenSegment(self.folder, f"{name} {state}")

    def _open(self) -> None:
        self.images = pq.read_table(self.folder / "images.parquet", schema=IMAGE_SCHEMA)
        self.captions = pq.read_table(self.folder / "captions.parquet", schema=CAPTION_SCHEMA)
        self.image_ids = self._array("image_ids", None)
        self.caption_ids = self._array("caption_ids", None)
        self.image_vectors = self._array("image_vectors", "r")
        self.caption_vectors = self._array("caption_vectors", "r")
        self.tokens = self._array("image_tokens", "r")
        self._thumbnails = pa.ipc.open_file(pa.memory_map(str(self.folder / "thumbnails.arrow"))).read_all()

    def _array(self, name: str, mmap_mode: str | None) -> np.ndarray:
        return np.load(self.folder / f"{name}.npy", mmap_mode=mmap_mode, allow_pickle=False)

    def _check_agreement(self) -> None:
        info, rows = self.info, (self.info.images, self.info.captions)
        agreements = {
            "images.parquet": np.array_equal(self.images["image_id"].to_numpy(), self.image_ids),
            "captions.parquet": np.array_equal(self.captions["caption_id"].to_numpy(), self.caption_ids),
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
