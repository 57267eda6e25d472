"""The photos that a run goes through, made one by one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from indexer.items import SourceCaption, SourceItem, description_of
from indexer.known_images import ROWS_AT_ONCE, Recorded
from indexer.sources.base import Source
from storage.photo_uri import PhotoUri
from storage.segments.segment_set import SegmentSet


@dataclass(frozen=True)
class Work:
    """A photo that the collection should hold, at `place`, of which `uri` is the text."""

    uri: str
    place: PhotoUri
    item: SourceItem
    source: str
    description: str


class Works:
    """The first `limit` photos of a source (None: all); in a rebuild, those that the collection has from other sources after
    them, as its records say."""

    def __init__(self, source: Source, limit: int | None, previous: SegmentSet | None, recorded: Recorded | None):
        """`previous` and `recorded` are what the collection holds, in a rebuild."""
        self._source, self._previous = source, previous
        self._own = len(source) if limit is None else min(limit, len(source))
        self._others = []
        if previous is not None:
            for item in islice(source, self._own):
                recorded.name(_place(item).uri)
            self._others = recorded.of_others(str(source.root))

    def __len__(self) -> int:
        return self._own + len(self._others)

    def __iter__(self) -> Iterator[Work]:
        root = str(self._source.root)
        yield from (_work(item, root) for item in islice(self._source, self._own))
        for start in range(0, len(self._others), ROWS_AT_ONCE):
            yield from _recorded(self._previous, self._others[start : start + ROWS_AT_ONCE])


def _place(item: SourceItem) -> PhotoUri:
    return PhotoUri(item.uri, item.member)


def _work(item: SourceItem, source: str) -> Work:
    place = _place(item)
    return Work(place.uri, place, item, source, description_of(item.captions, item.metadata))


def _recorded(rows: SegmentSet, ids) -> Iterator[Work]:
    """The collection's own photos as work."""
    captions = rows.captions_of(ids)
    for record in rows.images(ids):
        own = [SourceCaption(one.language, one.text, one.origin) for one in captions[record.image_id]]
        place = PhotoUri.at(record.uri)
        yield _work(SourceItem(place.path, own, record.metadata, place.member), record.source)
