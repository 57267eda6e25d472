"""Reading by id from a list of segments."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from storage.arrow_compute import pc
from storage.segments.id_map import IdMap, Ids, as_ids
from storage.segments.living import living_captions
from storage.segments.reader import Segment
from storage.segments.schemas import (
    CAPTION_SCHEMA,
    IMAGE_SCHEMA,
    CaptionRecord,
    ImageRecord,
    table_to_captions,
    table_to_images,
)


class SegmentSet:
    """The living images and captions of some segments. Nothing here changes after it is made, so any thread may call."""

    def __init__(self, segments: list[Segment], tombstones: Sequence[int] = (), captioned: np.ndarray | None = None):
        """Combine segments.

        Args:
            segments: The segments, open.
            tombstones: Ids of deleted images; they and their captions are left out.
            captioned: Ids of images whose captions live, int64, where some of these are in segments that are not given.
                A caption of any other image is left out. None: the images of these segments.
        """
        self._segments = segments
        self._dead_images = np.array(tombstones, np.int64)
        self._images = IdMap([segment.image_ids for segment in self._segments], self._dead_images)
        owners = [segment.owners for segment in self._segments]
        captioned = self._images.ids if captioned is None else captioned
        dead_captions = [one.caption_ids[~living_captions(one, self._dead_images, captioned)] for one in segments]
        self._dead_captions = np.concatenate([np.empty(0, np.int64), *dead_captions])
        self._captions = IdMap([segment.caption_ids for segment in self._segments], self._dead_captions)
        owner = self._captions.column(owners, np.int64)
        by_owner = np.argsort(owner, kind="stable")
        self._sorted_owners, self._captions_by_owner = owner[by_owner], self._captions.ids[by_owner]
        self._languages, self._language_codes = self._encode_languages()
        self._generated = self._captions.column([segment.generated for segment in self._segments], np.bool_)

    @property
    def image_count(self) -> int:
        """The number of images."""
        return len(self._images.ids)

    @property
    def caption_count(self) -> int:
        """The number of captions."""
        return len(self._captions.ids)

    @property
    def languages(self) -> list[str]:
        """The languages of the captions, in alphabetical order."""
        return [self._languages[code] for code in np.unique(self._language_codes)]

    def image_ids(self) -> np.ndarray:
        """The ids of all images, int64 [images], sorted upwards."""
        return self._images.ids.copy()

    @property
    def generated_count(self) -> int:
        """The number of captions that a model wrote."""
        return int(np.count_nonzero(self._generated))

    def caption_ids(self, language: str | None = None, generated: bool | None = None) -> np.ndarray:
        """The ids of captions, int64, sorted upwards.

        Args:
            language: Only those in this language.
            generated: True: only those that a model wrote; False: only the others.
        """
        chosen = np.ones(len(self._captions.ids), bool)
        if language is not None:
            chosen &= self._language_codes == (self._languages.index(language) if language in self._languages else -1)
        if generated is not None:
            chosen &= self._generated == generated
        return self._captions.ids[chosen]

    def generated_captions(self) -> pa.Table:
        """The rows of captions.parquet that a model wrote."""
        tables = [CAPTION_SCHEMA.empty_table()]
        for segment in self._segments:
            if segment.generated.any():
                tables.append(segment.captions.filter(pa.array(segment.generated)))
        table = pa.concat_tables(tables)
        return table.filter(pa.array(np.isin(table["image_id"].to_numpy(), self._images.ids)))

    def captioned(self, language: str, origin: str | None = None) -> np.ndarray:
        """The ids of the images with a caption in a language, and of an origin if one is given; int64, sorted upwards."""
        found = [np.empty(0, np.int64)]
        for segment in self._segments:
            if language in segment.languages:
                own = segment.language_codes == segment.languages.index(language)
                if origin is not None:
                    own &= pc.equal(segment.captions["origin"], origin).to_numpy()
                found.append(segment.owners[own])
        return np.intersect1d(np.concatenate(found), self._images.ids)

    def owners(self, caption_ids: Ids) -> np.ndarray:
        """The images of captions, int64 in the order of `caption_ids`.

        Raises:
            UnknownId: There is no caption with such an id.
        """
        owner = np.empty(len(self._captions.ids), np.int64)
        owner[np.searchsorted(self._captions.ids, self._captions_by_owner)] = self._sorted_owners
        return owner[self._captions.positions(as_ids(caption_ids, "caption"), "caption")]

    def caption_ids_of_others(self) -> np.ndarray:
        """The ids of captions whose images are in segments that are not among these, int64, sorted upwards."""
        return np.sort(self._captions_by_owner[~np.isin(self._sorted_owners, self._images.ids)])

    def image_table(self) -> pa.Table:
        """The rows of images.parquet, in the order of `image_ids()`."""
        return self._images.table([segment.images for segment in self._segments], IMAGE_SCHEMA)

    def caption_table(self) -> pa.Table:
        """The rows of captions.parquet, in the order of `caption_ids()`."""
        return self._captions.table([segment.captions for segment in self._segments], CAPTION_SCHEMA)

    def images(self, ids: Ids) -> list[ImageRecord]:
        """The records of images, in the order of `ids`.

        Raises:
            UnknownId: There is no image with such an id.
        """
        return self._fetch(ids, self._images, "image", lambda s, rows: table_to_images(s.images.take(rows)))

    def find(self, uris: Sequence[str]) -> dict[str, int]:
        """The ids of the images with these uris, by uri. A uri that no image has is left out."""
        wanted, found = pa.array(uris, pa.string()), {}
        for segment in self._segments:
            own = segment.images["uri"]
            rows = np.flatnonzero(pc.is_in(own, value_set=wanted).to_numpy(zero_copy_only=False))
            rows = rows[~np.isin(segment.image_ids[rows], self._dead_images)]
            found.update(zip(own.take(rows).to_pylist(), segment.image_ids[rows].tolist(), strict=True))
        return found

    def with_content(self, sha256: str) -> list[int]:
        """The ids of the images whose file has this SHA-256, sorted upwards."""
        table = self.image_table()
        return table["image_id"].filter(pc.equal(table["sha256"], sha256)).to_pylist()

    def captions(self, caption_ids: Ids) -> list[CaptionRecord]:
        """The records of captions, in the order of `caption_ids`.

        Raises:
            UnknownId: There is no caption with such an id.
        """
        return self._fetch(caption_ids, self._captions, "caption", lambda s, rows: table_to_captions(s.captions.take(rows)))

    def captions_of(self, image_ids: Ids) -> dict[int, list[CaptionRecord]]:
        """The captions of some images, by image id, each list sorted by caption id.

        Raises:
            UnknownId: There is no image with such an id.
        """
        wanted = as_ids(image_ids, "image")
        self._images.positions(wanted, "image")
        starts = np.searchsorted(self._sorted_owners, wanted, "left")
        ends = np.searchsorted(self._sorted_owners, wanted, "right")
        ids = [self._captions_by_owner[start:end] for start, end in zip(starts, ends, strict=True)]
        records = iter(self.captions(np.concatenate([np.empty(0, np.int64), *ids])))
        return {int(image): [next(records) for _ in own] for image, own in zip(wanted, ids, strict=True)}

    def tokens(self, image_ids: Ids) -> np.ndarray:
        """The tokens of n images, float16 [n, L, H], in the order of `image_ids`.

        Raises:
            UnknownId: There is no image with such an id.
        """
        tokens = self._fetch(image_ids, self._images, "image", lambda s, rows: s.tokens[rows])
        return np.stack(tokens) if tokens else np.empty((0, *self._shape()[1]), np.float16)

    def image_vectors(self, image_ids: Ids) -> np.ndarray:
        """The vectors of n images, float32 [n, D], in the order of `image_ids`.

        Raises:
            UnknownId: There is no image with such an id.
        """
        vectors = self._fetch(image_ids, self._images, "image", lambda s, rows: s.image_vectors[rows])
        return np.stack(vectors).astype(np.float32) if vectors else np.empty((0, self._shape()[0]), np.float32)

    def caption_vectors(self, caption_ids: Ids) -> np.ndarray:
        """The vectors of n captions, float32 [n, D], in the order of `caption_ids`.

        Raises:
            UnknownId: There is no caption with such an id.
        """
        vectors = self._fetch(caption_ids, self._captions, "caption", lambda s, rows: s.caption_vectors[rows])
        return np.stack(vectors).astype(np.float32) if vectors else np.empty((0, self._shape()[0]), np.float32)

    def thumbnail(self, image_id: int) -> bytes:
        """The thumbnail of an image: a JPEG file of at most 512 pixels on the longer side.

        Raises:
            UnknownId: There is no image with this id.
        """
        return self._fetch([image_id], self._images, "image", lambda s, rows: [s.thumbnail(int(rows[0]))])[0]

    def give_back(self) -> None:
        """Return the memory of vectors, tokens and thumbnails that were read to the system."""
        for segment in self._segments:
            segment.give_back()

    def _fetch(self, ids: Ids, id_map: IdMap, kind: str, read: Callable[[Segment, np.ndarray], Iterable[Any]]) -> list[Any]:
        """Read something for each id, segment by segment; the result is in the order of `ids`."""
        positions = id_map.positions(as_ids(ids, kind), kind)
        segments, rows = id_map.segments[positions], id_map.rows[positions]
        found: list = [None] * len(positions)
        for number in np.unique(segments):
            own = np.flatnonzero(segments == number)
            for position, value in zip(own, read(self._segments[number], rows[own]), strict=True):
                found[position] = value
        return found

    def _shape(self) -> tuple[int, tuple[int, int]]:
        """D and (L, H); zeros without a segment."""
        info = self._segments[0].info if self._segments else None
        return (info.dim, info.token_shape) if info else (0, (0, 0))

    def _encode_languages(self) -> tuple[list[str], np.ndarray]:
        """The languages, and the position of each living caption's language among them, int32 [captions]."""
        names = sorted({name for segment in self._segments for name in segment.languages})
        codes_by_name = {name: code for code, name in enumerate(names)}
        codes = [
            np.array([codes_by_name[name] for name in segment.languages], np.int32)[segment.language_codes]
            for segment in self._segments
        ]
        return names, self._captions.column(codes, np.int32)
