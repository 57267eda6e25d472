"""What is to be done with each photo: kept, looked into, or encoded, and under which ids."""

from collections.abc import Iterator
from dataclasses import dataclass

from indexer.filling import Entry
from indexer.items import SourceCaption, SourceItem, description_of
from indexer.known import Known, known_images, record_batches
from indexer.photos import Photo
from storage.catalog import FileRecord
from storage.collection import Collection
from storage.places import Place
from storage.segment_set import SegmentSet
from storage.writer import Writer


@dataclass(frozen=True)
class Work:
    """A photo that the collection should hold, at `place`, of which `uri` is the text."""

    uri: str
    place: Place
    item: SourceItem
    source: str
    description: str


class Plan:
    """Compares what the collection should hold with what it does.

    `known` says, by uri, what may stay as it is: what is published (but in a rebuild) and what an interrupted run
    finished. A photo or description that changed is encoded under a new id and the old image gets a tombstone, and so
    does one whose content was found elsewhere and whose file is gone: it was moved. In a rebuild, photos and captions
    keep the ids they had.
    """

    def __init__(self, collection: Collection, writer: Writer, files: dict[str, FileRecord], rebuild: bool):
        self._writer, self._files = writer, files
        self._previous = collection.salvage() if rebuild else None
        self._previous_ids = dict(_ids_by_uri(self._previous)) if rebuild else {}
        self.known: dict[str, Known] = {}
        self._gone: set[int] = set()
        self.entries = self.replaced = self.resumed = 0
        if writer.manifest.version and not rebuild:
            self.known.update((known.uri, known) for known in known_images(collection.open_snapshot()))
        for known in known_images(writer.adopted):
            if known.uri in self.known:
                self._replace(self.known[known.uri])
            self.known[known.uri] = known
            self.resumed += 1
        self._twins = {known.sha256: known for known in self.known.values()}

    @property
    def added(self) -> int:
        """Images that the next publication adds."""
        return self.entries + self.resumed

    def work(self, root: str, items: list[SourceItem]) -> list[Work]:
        """The source's photos; in a rebuild also those that the collection has from other sources."""
        own = [_work(item, root) for item in items]
        if self._previous is None:
            return own
        listed = {one.uri for one in own}
        recorded = {one.uri: one for one in _recorded(self._previous)}
        return own + [one for one in recorded.values() if one.source != root and one.uri not in listed]

    def is_untouched(self, work: Work) -> bool:
        """Whether the file is known, and looks as it did when it was read last (size and time of change)."""
        known, file = self.known.get(work.uri), self._files.get(work.uri)
        if known is None or file is None or known.description != work.description:
            return False
        if (file.image_id, file.sha256) != (known.image_id, known.sha256):
            return False
        try:
            return (file.size, file.mtime_ns) == work.place.state()
        except OSError:
            return False

    def content_to_skip(self, work: Work) -> str | None:
        """The SHA-256 of content that needs no decoding, because the collection holds it and all that is said of it."""
        known = self.known.get(work.uri)
        return known.sha256 if known is not None and known.description == work.description else None

    def is_published(self, work: Work) -> bool:
        """Whether what is known of the photo was visible before this run."""
        return self.known[work.uri].origin is not self._writer.adopted

    def entry(self, work: Work, photo: Photo) -> Entry:
        """Ids for a photo that is new or changed; what was there under its uri gets a tombstone."""
        outdated = self.known.get(work.uri)
        if outdated is not None:
            self._replace(outdated)
        twin = self._twins.get(photo.file.sha256)
        if twin is not None and not Place.at(twin.uri).exists():
            self._replace(twin)
        kept = self._previous_ids.get(work.uri) if outdated is None else None
        self.entries += 1
        return Entry(
            image_id=self._writer.new_image_id() if kept is None else kept,
            uri=work.uri,
            caption_ids=list(self._caption_ids(kept, work.item.captions)),
            item=work.item,
            source=work.source,
            photo=photo,
            twin=twin,
        )

    def _replace(self, known: Known) -> None:
        if known.image_id in self._gone:
            return
        self._gone.add(known.image_id)
        self._writer.tombstone(known.image_id)
        if known.origin is self._writer.adopted:
            self.resumed -= 1
        else:
            self.replaced += 1

    def _caption_ids(self, kept_image: int | None, captions: list[SourceCaption]) -> Iterator[int]:
        """The ids that an image's captions had, and new ones for those it didn't have."""
        had: dict[tuple[str, str], list[int]] = {}
        if kept_image is not None:
            for record in self._previous.captions_of([kept_image])[kept_image]:
                had.setdefault((record.language, record.text), []).append(record.caption_id)
        for caption in captions:
            same = had.get((caption.language, caption.text))
            yield same.pop(0) if same else self._writer.new_caption_id()


def _work(item: SourceItem, source: str) -> Work:
    place = Place(item.uri, item.member)
    return Work(place.uri, place, item, source, description_of(item.captions, item.metadata))


def _ids_by_uri(rows: SegmentSet) -> Iterator[tuple[str, int]]:
    for records in record_batches(rows):
        yield from ((record.uri, record.image_id) for record in records)


def _recorded(rows: SegmentSet) -> Iterator[Work]:
    """The collection's own photos as work."""
    for records in record_batches(rows):
        captions = rows.captions_of([record.image_id for record in records])
        for record in records:
            own = [SourceCaption(one.language, one.text, one.origin) for one in captions[record.image_id]]
            place = Place.at(record.uri)
            yield _work(SourceItem(place.path, own, record.metadata, place.member), record.source)
