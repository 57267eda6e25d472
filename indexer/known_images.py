"""What the collection already holds, so that nothing is encoded twice."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from indexer.items import description_hash
from indexer.text_index import TextIndex
from storage.segments.builder import SegmentBuilder
from storage.segments.schemas import CaptionRecord, ImageRecord
from storage.segments.segment_set import SegmentSet

ROWS_AT_ONCE = 4096
HASH_BYTES = 32
NO_SOURCE = -1


@dataclass(frozen=True, slots=True)
class KnownImage:
    """An image of the collection.

    Attributes:
        uri: where its photo is.
        image_id: its id.
        sha256: the hash of its file's content.
        description: the `description_hash` of its captions and metadata.
        source: the source that it came from.
        has_embedded: True if what the photo says of itself was read.
        rows: the published rows, which hold its arrays; None if an interrupted run left the image behind.
    """

    uri: str
    image_id: int
    sha256: str
    description: str
    source: str
    has_embedded: bool
    rows: SegmentSet | None

    @property
    def published(self) -> bool:
        """True if the image is part of the published version."""
        return self.rows is not None


class KnownUris:
    """The uris and ids of a collection's images, in some 120 bytes an image. Of two images with one uri, the later counts."""

    def __init__(self, rows: SegmentSet | None = None):
        """Read the images of `rows` in ascending order of id."""
        self._uris, self._ids = TextIndex(), array("q")
        self._sources, self._source_numbers = array("i"), dict[str, int]()
        self._last_lookup: tuple[str | None, int | None] = None, None
        for records in record_batches(rows) if rows is not None else ():
            self._add_uris(records)

    @property
    def uri_count(self) -> int:
        """The number of different uris."""
        return self._uris.distinct

    def id_of(self, uri: str) -> int | None:
        """The image's id; None if there is none."""
        position = self._position(uri)
        return None if position is None else self._ids[position]

    def mark_named(self, uri: str, named: bool = True) -> None:
        """Note that a source names this photo; with `named` False, that it doesn't."""
        if (position := self._position(uri)) is not None:
            self._named[position] = named

    def ids_of_others(self, source: str) -> np.ndarray:
        """The ids of images from other sources that were not marked as named, int64 [n]."""
        positions = np.flatnonzero(~self._is_from(source) & ~self._named)
        last = [position for position in positions.tolist() if self._uris.find_last(self._uris[position]) == position]
        return np.array(self._ids, np.int64)[last]

    def _position(self, uri: str) -> int | None:
        if self._last_lookup[0] != uri:  # several questions about one photo come in a row
            self._last_lookup = uri, self._uris.find_last(uri)
        return self._last_lookup[1]

    @cached_property
    def _named(self) -> np.ndarray:
        return np.zeros(len(self._ids), bool)

    def _is_from(self, source: str) -> np.ndarray:
        """Which images are from a source, bool [n]."""
        return np.array(self._sources, np.int32) == self._source_numbers.get(source, NO_SOURCE)

    def _add_uris(self, records: list[ImageRecord]) -> None:
        numbers = self._source_numbers
        self._uris.add([record.uri for record in records])
        self._ids.extend(record.image_id for record in records)
        self._sources.extend(numbers.setdefault(record.source, len(numbers)) for record in records)


class KnownImages(KnownUris):
    """All that is known of a collection's images, in some 300 bytes an image.

    Images are at positions from 0 upwards: first what is published, then what an interrupted run finished, then what it had
    begun.
    """

    def __init__(self, published: SegmentSet | None, adopted: SegmentSet, begun: SegmentBuilder | None):
        """Read all images.

        Args:
            published: the published rows; None if there are none, or if a rebuild replaces them.
            adopted: the segments that an interrupted run finished.
            begun: the segment that it had begun, if any.
        """
        super().__init__()
        self._contents, self._descriptions, self._has_embedded = TextIndex(), bytearray(), bytearray()
        for records, captions in captioned_batches(published) if published is not None else ():
            self._add(records, captions)
        self._published_count, self._rows = len(self._ids), published
        for records, captions in captioned_batches(adopted):
            self._add(records, captions)
        if begun is not None:
            self._add(begun.images, _by_image(begun.captions))

    @property
    def unpublished(self) -> range:
        """The positions of what an interrupted run left behind."""
        return range(self._published_count, len(self._ids))

    def at(self, position: int) -> KnownImage:
        """The image at a position."""
        return KnownImage(
            uri=self._uris[position],
            image_id=self._ids[position],
            sha256=self._contents[position],
            description=bytes(self._descriptions[HASH_BYTES * position : HASH_BYTES * (position + 1)]).hex(),
            source=list(self._source_numbers)[self._sources[position]],
            has_embedded=bool(self._has_embedded[position]),
            rows=self._rows if position < self._published_count else None,
        )

    def get(self, uri: str, before: int | None = None) -> KnownImage | None:
        """The last image of a uri, or the last one at a position below `before`; None if there is none."""
        position = self._position(uri) if before is None else self._uris.find_last(uri, before)
        return None if position is None else self.at(position)

    def with_content(self, sha256: str) -> KnownImage | None:
        """A published image of this content; None if there is none."""
        position = self._contents.find_last(sha256, self._published_count)
        return None if position is None else self.at(position)

    def unnamed(self, source: str) -> Iterator[KnownImage]:
        """The images of a source that were not marked as named."""
        positions = np.flatnonzero(self._is_from(source) & self._current & ~self._named)
        return (self.at(position) for position in positions.tolist())

    def published_count(self, source: str) -> int:
        """The number of published images of a source that no later image of the same uri replaces."""
        return int(np.count_nonzero((self._is_from(source) & self._current)[: self._published_count]))

    @cached_property
    def _current(self) -> np.ndarray:
        """Which images have no later image of the same uri, bool [n]."""
        current = np.ones(len(self._ids), bool)
        for position in self.unpublished:
            if (before := self._uris.find_last(self._uris[position], position)) is not None:
                current[before] = False
        return current

    def _add(self, records: list[ImageRecord], captions: dict[int, list[CaptionRecord]]) -> None:
        self._add_uris(records)
        self._contents.add([record.sha256 for record in records])
        self._has_embedded += bytes(record.embedded is not None for record in records)
        for record in records:
            self._descriptions += bytes.fromhex(description_hash(captions.get(record.image_id, []), record.metadata))


def record_batches(rows: SegmentSet) -> Iterator[list[ImageRecord]]:
    """All image records in ascending order of id, `ROWS_AT_ONCE` at a time."""
    ids = rows.image_ids()
    for start in range(0, len(ids), ROWS_AT_ONCE):
        yield rows.images(ids[start : start + ROWS_AT_ONCE])


def captioned_batches(rows: SegmentSet) -> Iterator[tuple[list[ImageRecord], dict[int, list[CaptionRecord]]]]:
    """The batches of `record_batches`, each with its captions by image id."""
    for records in record_batches(rows):
        yield records, rows.captions_of([record.image_id for record in records])


def arrays_of(images: list[KnownImage]) -> tuple[np.ndarray, np.ndarray]:
    """Vectors float32 [n, D] and tokens float16 [n, L, H] of published images; n is at least 1."""
    vectors, tokens = [], []
    for image in images:
        assert image.rows is not None, "only published images have arrays"
        vectors.append(image.rows.image_vectors([image.image_id])[0])
        tokens.append(image.rows.tokens([image.image_id])[0])
    return np.stack(vectors), np.stack(tokens)


def _by_image(captions: list[CaptionRecord]) -> dict[int, list[CaptionRecord]]:
    found: dict[int, list[CaptionRecord]] = {}
    for caption in captions:
        found.setdefault(caption.image_id, []).append(caption)
    return found
