"""What the collection already holds, so that nothing is encoded twice."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from indexer.items import description_of
from indexer.text_index import TextIndex
from storage.segments.builder import SegmentBuilder
from storage.segments.schemas import CaptionRecord, ImageRecord
from storage.segments.segment_set import SegmentSet

ROWS_AT_ONCE = 4096
HASH = 32
NO_SOURCE = -1


@dataclass(frozen=True, slots=True)
class Known:
    """An image of the collection: its content, and a hash of what is said of it. `published` tells it from what an
    interrupted run left behind; `rows` can give its arrays then."""

    uri: str
    image_id: int
    sha256: str
    description: str
    source: str
    published: bool
    rows: SegmentSet | None


class Recorded:
    """Under which uris a collection has images, in some 120 bytes an image; of two under one uri the last counts."""

    def __init__(self, rows: SegmentSet | None = None):
        """By id upwards."""
        self._uris, self._ids = TextIndex(), array("q")
        self._sources, self._numbers = array("i"), {}
        self._asked: tuple[str | None, int | None] = None, None
        for records in record_batches(rows) if rows is not None else ():
            self._note(records)

    @property
    def uris(self) -> int:
        """How many uris there are."""
        return self._uris.distinct

    def id_of(self, uri: str) -> int | None:
        """The image's id; None where there is none."""
        place = self._place(uri)
        return None if place is None else self._ids[place]

    def name(self, uri: str, named: bool = True) -> None:
        """Note that a source names this photo; or that it doesn't."""
        if (place := self._place(uri)) is not None:
            self._named[place] = named

    def of_others(self, source: str) -> np.ndarray:
        """The ids of the images from other sources that were not named, int64 [n]."""
        places = np.flatnonzero(~self._of(source) & ~self._named)
        last = [place for place in places.tolist() if self._uris.last(self._uris[place]) == place]
        return np.array(self._ids, np.int64)[last]

    def _place(self, uri: str) -> int | None:
        if self._asked[0] != uri:  # of one photo, several things are asked in a row
            self._asked = uri, self._uris.last(uri)
        return self._asked[1]

    @cached_property
    def _named(self) -> np.ndarray:
        return np.zeros(len(self._ids), bool)

    def _of(self, source: str) -> np.ndarray:
        """Which images are from a source, bool [n]."""
        return np.array(self._sources, np.int32) == self._numbers.get(source, NO_SOURCE)

    def _note(self, records: list[ImageRecord]) -> None:
        self._uris.add([record.uri for record in records])
        self._ids.extend(record.image_id for record in records)
        self._sources.extend(self._numbers.setdefault(record.source, len(self._numbers)) for record in records)


class KnownImages(Recorded):
    """All that is known, in some 300 bytes an image. In places from 0 upwards: what is published, what an interrupted run
    finished, and what it had begun."""

    def __init__(self, published: SegmentSet | None, adopted: SegmentSet, begun: SegmentBuilder | None):
        super().__init__()
        self._contents, self._descriptions = TextIndex(), bytearray()
        for records, captions in captioned(published) if published is not None else ():
            self._add(records, captions)
        self._published, self._rows = len(self._ids), published
        for records, captions in captioned(adopted):
            self._add(records, captions)
        if begun is not None:
            self._add(begun.images, _by_image(begun.captions))

    @property
    def unpublished(self) -> range:
        """The places of what an interrupted run left behind."""
        return range(self._published, len(self._ids))

    def at(self, place: int) -> Known:
        """What is known of the image at a place."""
        hashed = bytes(self._descriptions[HASH * place : HASH * (place + 1)])
        source, published = list(self._numbers)[self._sources[place]], place < self._published
        rows = self._rows if published else None
        return Known(self._uris[place], self._ids[place], self._contents[place], hashed.hex(), source, published, rows)

    def get(self, uri: str, before: int | None = None) -> Known | None:
        """What is known under a uri, of what stands before the place `before`."""
        place = self._place(uri) if before is None else self._uris.last(uri, before)
        return None if place is None else self.at(place)

    def twin(self, sha256: str) -> Known | None:
        """A published image of this content."""
        place = self._contents.last(sha256, self._published)
        return None if place is None else self.at(place)

    def unnamed(self, source: str) -> Iterator[Known]:
        """What is known from a source and was not named."""
        return (self.at(place) for place in np.flatnonzero(self._of(source) & self._current & ~self._named).tolist())

    def published_of(self, source: str) -> int:
        """How many images of a source are published, and have nothing later under their uri."""
        return int(np.count_nonzero((self._of(source) & self._current)[: self._published]))

    @cached_property
    def _current(self) -> np.ndarray:
        """Which images have nothing later under their uri, bool [n]."""
        current = np.ones(len(self._ids), bool)
        for place in self.unpublished:
            if (before := self._uris.last(self._uris[place], place)) is not None:
                current[before] = False
        return current

    def _add(self, records: list[ImageRecord], captions: dict[int, list[CaptionRecord]]) -> None:
        self._note(records)
        self._contents.add([record.sha256 for record in records])
        for record in records:
            self._descriptions += bytes.fromhex(description_of(captions.get(record.image_id, []), record.metadata))


def record_batches(rows: SegmentSet) -> Iterator[list[ImageRecord]]:
    """All records by id upwards, a few thousand at a time."""
    ids = rows.image_ids()
    for start in range(0, len(ids), ROWS_AT_ONCE):
        yield rows.images(ids[start : start + ROWS_AT_ONCE])


def captioned(rows: SegmentSet) -> Iterator[tuple[list[ImageRecord], dict[int, list[CaptionRecord]]]]:
    """The same, with their captions by image id."""
    for records in record_batches(rows):
        yield records, rows.captions_of([record.image_id for record in records])


def arrays_of(known: list[Known]) -> tuple[np.ndarray, np.ndarray]:
    """Vectors float32 [n, D] and tokens float16 [n, L, H] of published images; n is at least 1."""
    vectors = [one.rows.image_vectors([one.image_id])[0] for one in known]
    tokens = [one.rows.tokens([one.image_id])[0] for one in known]
    return np.stack(vectors), np.stack(tokens)


def _by_image(captions: list[CaptionRecord]) -> dict[int, list[CaptionRecord]]:
    found: dict[int, list[CaptionRecord]] = {}
    for caption in captions:
        found.setdefault(caption.image_id, []).append(caption)
    return found
