"""Reading by id from a list of segments."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from storage.segments.id_map import IdMap, as_ids
from storage.segments.reader import Segment
from storage.segments.schemas import (
    CAPTION_SCHEMA,
    IMAGE_SCHEMA,
    CaptionRecord,
    ImageRecord,
    table_to_captions,
    table_to_images,
)

Ids = Sequence[int] | np.ndarray


class SegmentSet:
    """The living images and captions of some segments. Nothing here changes after it is made: any thread may call."""

    def __init__(self, segments: list[Segment], tombstones: Sequence[int] = ()):
        self._segments = segments
        self._dead_images = np.array(tombstones, np.int64)
        self._images = IdMap([segment.image_ids for segment in self._segments], self._dead_images)
        owners = [segment.owners for segment in self._segments]
        dead = [np.isin(owner, self._dead_images) for owner in owners]
        dead_captions = [segment.caption_ids[rows] for segment, rows in zip(segments, dead, strict=True)]
        self._dead_captions = np.concatenate([np.empty(0, np.int64), *dead_captions])
        self._captions = IdMap([segment.caption_ids for segment in self._segments], self._dead_captions)
        owner = self._captions.column(owners, np.int64)
        by_owner = np.argsort(owner, kind="stable")
        self._sorted_owners, self._captions_by_owner = owner[by_owner], self._captions.ids[by_owner]
        self._languages, self._language_codes = self._encode_languages()

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

    def image_table(self) -> pa.Table:
        """Every image's row of images.parquet, in the order of `image_ids()`."""
        return self._images.table([segment.images for segment in self._segments], IMAGE_SCHEMA)

    def caption_table(self) -> pa.Table:
        """Every caption's row of captions.parquet, in the order of `caption_ids()`."""
        return self._captions.table([segment.captions for segment in self._segments], CAPTION_SCHEMA)

    def images(self, ids: Ids) -> list[ImageRecord]:
        """The images' records in the order asked. Raises UnknownId."""
        return self._fetch(ids, self._images, "image", lambda s, rows: table_to_images(s.images.take(rows)))

    def find(self, uris: Sequence[str]) -> dict[str, int]:
        """The ids of the images that have these uris, by uri; those that none has are left out."""
        asked, found = pa.array(uris, pa.string()), {}
        for segment in self._segments:
            own = segment.images["uri"]
            rows = np.flatnonzero(pc.is_in(own, value_set=asked).to_numpy(zero_copy_only=False))
            rows = rows[~np.isin(segment.image_ids[rows], self._dead_images)]
            found.update(zip(own.take(rows).to_pylist(), segment.image_ids[rows].tolist(), strict=True))
        return found

    def with_content(self, sha256: str) -> list[int]:
        """The ids of the images of this content, upwards."""
        table = self.image_table()
        return table["image_id"].filter(pc.equal(table["sha256"], sha256)).to_pylist()

    def captions(self, caption_ids: Ids) -> list[CaptionRecord]:
        """The captions' records in the order asked. Raises UnknownId."""
        return self._fetch(caption_ids, self._captions, "caption", lambda s, rows: table_to_captions(s.captions.take(rows)))

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
        return np.stack(rows) if rows else np.empty((0, *self._shape()[1]), np.float16)

    def image_vectors(self, image_ids: Ids) -> np.ndarray:
        """float32 [n, D], in the order asked. Raises UnknownId."""
        rows = self._fetch(image_ids, self._images, "image", lambda s, rows: s.image_vectors[rows])
        return np.stack(rows).astype(np.float32) if rows else np.empty((0, self._shape()[0]), np.float32)

    def caption_vectors(self, caption_ids: Ids) -> np.ndarray:
        """float32 [n, D], in the order asked. Raises UnknownId."""
        rows = self._fetch(caption_ids, self._captions, "caption", lambda s, rows: s.caption_vectors[rows])
        return np.stack(rows).astype(np.float32) if rows else np.empty((0, self._shape()[0]), np.float32)

    def thumbnail(self, image_id: int) -> bytes:
        """A JPEG file of at most 512 pixels on the longer side. Raises UnknownId."""
        return self._fetch([image_id], self._images, "image", lambda s, rows: [s.thumbnail(int(rows[0]))])[0]

    def give_back(self) -> None:
        """Let the system have the memory of what was read of vectors, tokens and thumbnails."""
        for segment in self._segments:
            segment.give_back()

    def _fetch(self, ids: Ids, table: IdMap, kind: str, read: Callable[[Segment, np.ndarray], Iterable]) -> list:
        """What `read` gives for each id, asked segment by segment, in the order of `ids`."""
        positions = table.positions(as_ids(ids, kind), kind)
        segments, rows = table.segments[positions], table.rows[positions]
        found: list = [None] * len(positions)
        for number in np.unique(segments):
            places = np.flatnonzero(segments == number)
            for place, value in zip(places, read(self._segments[number], rows[places]), strict=True):
                found[place] = value
        return found

    def _shape(self) -> tuple[int, tuple[int, int]]:
        """D and (L, H); zeros where there is no segment to tell."""
        info = self._segments[0].info if self._segments else None
        return (info.dim, info.token_shape) if info else (0, (0, 0))

    def _encode_languages(self) -> tuple[list[str], np.ndarray]:
        """The languages, and each live caption's as a number in that list, int32 [captions]."""
        names = sorted({name for segment in self._segments for name in segment.languages})
        numbers = {name: number for number, name in enumerate(names)}
        codes = [
            np.array([numbers[name] for name in segment.languages], np.int32)[segment.language_codes]
            for segment in self._segments
        ]
        return names, self._captions.column(codes, np.int32)
