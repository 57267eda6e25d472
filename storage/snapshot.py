"""One published version of a collection, opened for reading."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from storage.errors import BrokenIndex, BrokenSegment
from storage.manifest import Manifest
from storage.photo_texts import PhotoTexts
from storage.segments.reader import Segment
from storage.segments.segment_set import SegmentSet
from storage.vector_index.base import LiveIndex, VectorIndex
from storage.vector_index.selection import open_index, read_choices


def rows_of(folder: Path, manifest: Manifest) -> SegmentSet:
    """Open the living rows of a version, which are read from disk at each request.

    Raises:
        BrokenSegment: A segment is damaged.
        UnreadableSegment: The system refuses to read a segment at the moment.
    """
    return SegmentSet([Segment(folder / "segments" / name, held=False) for name in manifest.segments], manifest.tombstones)


class Snapshot(SegmentSet):
    """One version, open for reading, whatever is published meanwhile.

    Attributes:
        image_index: The vector index of the images.
        caption_index: The vector index of the captions.
        index_choices: What each index is and why: an `IndexChoice` as JSON values, by "images" and "captions".
        texts: The texts that were read in photos.
    """

    image_index: VectorIndex
    caption_index: VectorIndex
    index_choices: dict[str, dict]
    texts: PhotoTexts

    def __init__(self, folder: Path, manifest: Manifest):
        """Open a version.

        Args:
            folder: The collection's folder.
            manifest: The version.

        Raises:
            BrokenSegment: A segment is damaged, or a newer version has removed it.
            UnreadableSegment: The system refuses to read a segment at the moment.
            BrokenIndex: An index file is damaged, or a newer version has removed it.
            BrokenTexts: The file of texts is damaged, or a newer version has removed it.
        """
        self._manifest = manifest
        super().__init__([Segment(folder / "segments" / name) for name in manifest.segments], manifest.tombstones)
        for segment in self._segments:
            if segment.info.fingerprint != manifest.fingerprint:
                raise BrokenSegment(segment.folder, "made by other weights than the manifest says")
        index = folder / "index" / manifest.index
        self.index_choices = read_choices(index)
        self.image_index = self._open_index(index, "images", self._dead_images, self.image_count)
        self.caption_index = self._open_index(index, "captions", self._dead_captions, self.caption_count)
        self.texts = PhotoTexts.open(folder, manifest.texts)

    @property
    def version(self) -> int:
        """The number of the version."""
        return self._manifest.version

    @property
    def model_fingerprint(self) -> str:
        """The fingerprint of the encoder that made the vectors and tokens."""
        return self._manifest.fingerprint

    def _open_index(self, folder: Path, name: str, dead: np.ndarray, living: int) -> VectorIndex:
        index = open_index(folder, name, self.index_choices)
        if index.dim != self._manifest.dim or index.count < living:
            raise BrokenIndex(folder / f"{name}.faiss", f"{index.count} vectors of {index.dim} numbers for {living} rows")
        return LiveIndex(index, dead, living)
