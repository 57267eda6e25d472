"""The photos that a run goes through."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from indexer.items import SourceItem, captions_of_source, description_hash
from indexer.known_images import ROWS_AT_ONCE, KnownUris
from indexer.sources.base import Source
from storage.photo_uri import PhotoUri
from storage.segments.segment_set import SegmentSet


@dataclass(frozen=True)
class WorkItem:
    """A photo that the collection should hold.

    Attributes:
        uri: `photo_uri` as text.
        photo_uri: where the photo is.
        item: what its source says of it.
        source: the source's absolute path.
        description: the `description_hash` of captions and metadata.
    """

    uri: str
    photo_uri: PhotoUri
    item: SourceItem
    source: str
    description: str


@dataclass(frozen=True)
class PreviousVersion:
    """The version that a rebuild replaces: its rows, and the uris of its images."""

    rows: SegmentSet
    uris: KnownUris


class WorkList:
    """The photos of a source; in a rebuild, then those that the collection has from other sources.

    The items are made one by one during iteration.
    """

    def __init__(self, source: Source, limit: int | None, previous: PreviousVersion | None = None):
        """Plan the list.

        Args:
            source: the source.
            limit: how many of its photos to take, from the first; None takes all.
            previous: in a rebuild, the version that it replaces.
        """
        self._source, self._previous = source, previous
        self._own_count = len(source) if limit is None else min(limit, len(source))
        self._other_ids: Sequence[int] | np.ndarray = ()
        if previous is not None:
            for item in islice(source, self._own_count):
                previous.uris.mark_named(_photo_uri(item).uri)
            self._other_ids = previous.uris.ids_of_others(str(source.root))

    def __len__(self) -> int:
        return self._own_count + len(self._other_ids)

    def __iter__(self) -> Iterator[WorkItem]:
        root = str(self._source.root)
        yield from (_work_item(item, root) for item in islice(self._source, self._own_count))
        if self._previous is not None:
            for start in range(0, len(self._other_ids), ROWS_AT_ONCE):
                yield from _recorded_items(self._previous.rows, self._other_ids[start : start + ROWS_AT_ONCE])


def _photo_uri(item: SourceItem) -> PhotoUri:
    return PhotoUri(item.uri, item.member)


def _work_item(item: SourceItem, source: str) -> WorkItem:
    photo_uri = _photo_uri(item)
    return WorkItem(photo_uri.uri, photo_uri, item, source, description_hash(item.captions, item.metadata))


def _recorded_items(rows: SegmentSet, ids: Sequence[int] | np.ndarray) -> Iterator[WorkItem]:
    """The collection's own images as work items."""
    captions = rows.captions_of(ids)
    for record in rows.images(ids):
        own = captions_of_source(captions[record.image_id])
        photo_uri = PhotoUri.at(record.uri)
        yield _work_item(SourceItem(photo_uri.path, own, record.metadata, photo_uri.member), record.source)
