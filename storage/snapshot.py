"""One published version of a collection, opened for reading."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from storage.errors import BrokenIndex, BrokenSegment, UnknownId
from storage.manifest import Manifest
from storage.records import CaptionRecord, ImageRecord, table_to_captions, table_to_images
from storage.rows import Rows, as_ids
from storage.segment_reader import Segment
from storage.vectors import FaissFlatIndex, LiveIndex, VectorIndex

Ids = Sequence[int] | np.ndarray


class Snapshot:
    """Reads one version, whatever is published meanwhile. Nothing here changes after it is made: any thread may call."""

    def __init__(self, folder: Path, manifest: Manifest):
        """Raises BrokenSegment or BrokenIndex, also when a newer version took the files away."""
        self._manifest = manifest
        self._segments = [Segment(folder / "segments" / name) for name in manifest.segments]
        for segment in self._segments:
            if segment.info.fingerprint != manifest.fingerprint:
                raise BrokenSegment(segment.folder, "made by other weights than the manifest says")
        dead = np.array(manifest.tombstones, np.int64)
        self._images = Rows([segment.image_ids for segment in self._segments], dead)
        owners = [segment.captions["image_id"].to_numpy() for segment in self._segments]
        dead_captions = np.concatenate(
            [np.empty(0, np.int64)]
            + [s.caption_ids[np.isin(owner, dead)] for s, owner in zip(self._segments, owners, strict=True)]
        )
        self._captions = Rows([segment.caption_ids for segment in self._segments], dead_captions)
        owner = self._captions.column(owners, np.int64)
        by_owner = np.argsort(owner, kind="stable")
        self._sorted_owners, self._captions_by_owner = owner[by_owner], self._captions.ids[by_owner]
        self._languages, self._language_codes = self._encode_languages()
        index = folder / "index" / manifest.index
        self.image_index = self._open_index(index / "images.faiss", dead, self._images)
        self.caption_index = self._open_index(index / "captions.faiss", dead_captions, self._captions)

    @property
    def version(self) -> int:
        """The published version that this is."""
        return self._manifest.version

    @property
    def model_fingerprint(self) -> str:
        """The fingerprint of the encoder that made the vectors and tokens."""
        return self._manifest.fingerprint

    @property
    def image_count(self) -> int:
        return len(self._images.ids)

    @property
    def caption_count(self) -> int:
        return len(self._captions.ids)

    @property
    def languages(self) -> list[str]:
        """The languages that captions are in, in alphabetical order."""
        return [self._languages[code] for code in np.unique(self._language_codes)]

    def image_ids(self) -> np.ndarray:
        """Every image's id, int64, upwards."""
        return self._images.ids.copy()

    def caption_ids(self, language: str | None = None) -> np.ndarray:
        """Every caption's id, or those of one language, int64, upwards."""
        if language is None:
            return self._captions.ids.copy()
        if language not in self._languages:
            return np.empty(0, np.int64)
        return self._captions.ids[self._language_codes == self._languages.index(language)]

    def images(self, ids: Ids) -> list[ImageRecord]:
        """The images' records in the order asked. Raises UnknownId."""
        return self._fetch(ids, self._images, "image", lambda s, rows: table_to_images(s.images.take(rows)))

    def captions(self, caption_ids: Ids) -> list[CaptionRecord]:
        """The captions' records in the order asked. Raises UnknownId."""
        return self._fetch(
            caption_ids, self._captions, "caption", lambda s, rows: table_to_captions(s.captions.take(rows))
        )

    def captions_of(self, image_ids: Ids) -> dict[int, list[CaptionRecord]]:
        """Every asked image's captions by id upwards; an empty list where there is none. Raises UnknownId."""
        asked = as_ids(image_ids, "image")
        self._images.positions(asked, "image")
        starts = np.searchsorted(self._sorted_owners, asked, "left")
        ends = np.searchsorted(self._sorted_owners, asked, "right")
        ids = [self._captions_by_owner[start:end] for start, end in zip(starts, ends, strict=True)]
        records = iter(self.captions(np.concatenate([np.empty(0, np.int64), *ids])))
        return {int(image): [next(records) for _ in own] for image, own in zip(asked, ids, strict=True)}

    def tokens(self, image_ids: Ids) -> np.ndarray:
        """float16 [n, L, H], in the order asked. Raises UnknownId."""
        rows = self._fetch(image_ids, self._images, "image", lambda s, rows: s.tokens[rows])
        return np.stack(rows) if rows else np.empty((0, *self._manifest.token_shape), np.float16)

    def image_vectors(self, image_ids: Ids) -> np.ndarray:
        """float32 [n, D], in the order asked. Raises UnknownId."""
        rows = self._fetch(image_ids, self._images, "image", lambda s, rows: s.image_vectors[rows])
        return np.stack(rows).astype(np.float32) if rows else np.empty((0, self._manifest.dim), np.float32)

    def thumbnail(self, image_id: int) -> bytes:
        """A JPEG file of at most 512 pixels on the longer side. Raises UnknownId."""
        return self._fetch([image_id], self._images, "image", lambda s, rows: [s.thumbnail(int(rows[0]))])[0]

    def verify(self) -> None:
        """Read every byte of every segment and compare with its checksum. Raises BrokenSegment."""
        for segment in self._segments:
            segment.verify()

    def _fetch(self, ids: Ids, table: Rows, kind: str, read: Callable[[Segment, np.ndarray], Iterable]) -> list:
        """What `read` gives for each id, asked segment by segment, in the order of `ids`."""
        positions = table.positions(as_ids(ids, kind), kind)
        segments, rows = table.segments[positions], table.rows[positions]
        found: list = [None] * len(positions)
        for number in np.unique(segments):
            places = np.flatnonzero(segments == number)
            for place, value in zip(places, read(self._segments[number], rows[places]), strict=True):
                found[place] = value
        return found

    def _encode_languages(self) -> tuple[list[str], np.ndarray]:
        """The languages, and each live caption's as a number in that list, int32 [captions]."""
        columns = [segment.captions["language"] for segment in self._segments]
        names = sorted({name for column in columns for name in column.unique().to_pylist()})
        codes = [pc.index_in(column, value_set=pa.array(names, pa.string())).to_numpy() for column in columns]
        return names, self._captions.column(codes, np.int32)

    def _open_index(self, path: Path, dead: np.ndarray, live: Rows) -> VectorIndex:
        index = FaissFlatIndex.open(path)
        if index.dim != self._manifest.dim or index.count < len(live.ids):
            raise BrokenIndex(path, f"{index.count} vectors of {index.dim} numbers for {len(live.ids)} rows")
        return LiveIndex(index, dead, len(live.ids))
