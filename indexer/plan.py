"""What is to be done with each photo: kept, looked into, or encoded, and under which ids."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from indexer.items import SourceCaption
from indexer.known_images import Known, KnownImages, Recorded
from indexer.photo_loader import Photo, looks_of
from indexer.segment_filler import Entry
from indexer.sources.base import Source
from indexer.work import Work, Works
from storage.catalog.catalog import FileRecord
from storage.collection import Collection
from storage.photo_uri import PhotoUri
from storage.writer import Writer


class Plan:
    """Compares what the collection should hold with what it does.

    `known` says, by uri, what may stay as it is: what is published (but in a rebuild) and what an interrupted run
    encoded. A photo or description that changed is encoded under a new id and the old image gets a tombstone, and so
    does one whose content was found elsewhere and whose file is gone: it was moved. In a rebuild, photos and captions
    keep the ids they had. What comes out is the same whether or not a run was interrupted.
    """

    def __init__(self, collection: Collection, writer: Writer, rebuild: bool):
        self._writer, self._rebuild = writer, rebuild
        self._previous = collection.salvage() if rebuild else None
        self._recorded = Recorded(self._previous) if rebuild else None
        self._gone: set[int] = set()
        self.entries = self.replaced = self.resumed = self.removed = 0
        published = collection.open_rows() if writer.manifest.version and not rebuild else None
        self.known = KnownImages(published, writer.adopted, writer.unfinished)
        for place in self.known.unpublished:
            known = self.known.at(place)
            self._leave_old_places(known.uri, known.sha256, before=place)
            self.resumed += 1

    @property
    def added(self) -> int:
        """Images that the next publication adds."""
        return self.entries + self.resumed

    @property
    def replaceable(self) -> int:
        """Images of the version that a rebuild replaces."""
        return 0 if self._recorded is None else self._recorded.uris

    @property
    def change(self) -> str:
        """In words, what the next publication changes."""
        if self._rebuild:
            return f"rebuilt, {self.added} images"
        parts = {"added": self.added - self.replaced, "replaced": self.replaced, "removed": self.removed}
        return ", ".join(f"{count} {done}" for done, count in parts.items() if count) or "nothing"

    def work(self, source: Source, limit: int | None) -> Works:
        """The source's first `limit` photos (None: all); in a rebuild also those that the collection has from other sources."""
        return Works(source, limit, self._previous, self._recorded)

    def is_untouched(self, work: Work, file: FileRecord | None, paths: list[str]) -> bool:
        """Whether it is known, and its files look as they did when they were read last (size and time of change)."""
        known = self.known.get(work.uri)
        if known is None or file is None or known.description != work.description:
            return False
        if (file.image_id, file.sha256) != (known.image_id, known.sha256):
            return False
        try:
            return (file.size, file.mtime_ns) == (work.place.state() if len(paths) == 1 else looks_of(paths))
        except OSError:
            return False

    def content_to_skip(self, work: Work) -> str | None:
        """The SHA-256 of content that needs no decoding, because the collection holds it and all that is said of it."""
        known = self.known.get(work.uri)
        return known.sha256 if known is not None and known.description == work.description else None

    def is_published(self, work: Work) -> bool:
        """Whether what is known of the photo was visible before this run."""
        return self.known.get(work.uri).published

    def entry(self, work: Work, photo: Photo) -> Entry:
        """Ids for a photo that is new or changed; what was there under its uri gets a tombstone."""
        outdated = self.known.get(work.uri)
        self._leave_old_places(work.uri, photo.file.sha256)
        kept = self._recorded.id_of(work.uri) if self._recorded is not None and outdated is None else None
        self.entries += 1
        return Entry(
            image_id=self._writer.new_image_id() if kept is None else kept,
            uri=work.uri,
            caption_ids=list(self._caption_ids(kept, work.item.captions)),
            item=work.item,
            source=work.source,
            photo=photo,
            twin=self.known.twin(photo.file.sha256),
        )

    def vanished(self, root: str, hidden: Iterable[str]) -> list[Known]:
        """What the collection has from this source and the source has no more: `known` was not told that it is named, and its
        uri begins with none of the `hidden`, of which the source can't tell at the moment."""
        below = tuple(hidden)
        return [
            known for known in self.known.unnamed(root) if known.image_id not in self._gone and not known.uri.startswith(below)
        ]

    def share_of(self, root: str) -> int:
        """How many images of this source are published."""
        return self.known.published_of(root)

    def remove(self, known: Known) -> None:
        """Take an image out of the collection with the next publication."""
        self._bury(known)
        self.removed += known.published

    def forget(self) -> None:
        """Once every photo is settled, what is known is needed no more; what was counted stays."""
        del self.known, self._previous, self._recorded

    def _leave_old_places(self, uri: str, sha256: str, before: int | None = None) -> None:
        """Tombstones for what a photo at `uri` with this content replaces: what was there, and where it was moved from."""
        outdated, twin = self.known.get(uri, before), self.known.twin(sha256)
        moved = twin is not None and not PhotoUri.at(twin.uri).exists()
        for known in (outdated, twin if moved else None):
            if known is not None and known.image_id not in self._gone:
                self._bury(known)
                self.replaced += known.published

    def _bury(self, known: Known) -> None:
        self._gone.add(known.image_id)
        self._writer.tombstone(known.image_id)
        if not known.published:
            self.resumed -= 1

    def _caption_ids(self, kept_image: int | None, captions: list[SourceCaption]) -> Iterator[int]:
        """The ids that an image's captions had, and new ones for those it didn't have."""
        had: dict[tuple[str, str], list[int]] = {}
        if kept_image is not None:
            for record in self._previous.captions_of([kept_image])[kept_image]:
                had.setdefault((record.language, record.text), []).append(record.caption_id)
        for caption in captions:
            same = had.get((caption.language, caption.text))
            yield same.pop(0) if same else self._writer.new_caption_id()
