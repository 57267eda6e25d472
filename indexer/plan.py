"""Decides for each photo: keep it, read it, or encode it, and under which ids."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from indexer.items import SourceCaption, with_embedded_captions, with_generated_captions
from indexer.kept_captions import KeptCaptions
from indexer.known_images import KnownImage, KnownImages, KnownUris
from indexer.photo_loader import Photo, size_and_mtime
from indexer.segment_filler import Entry
from indexer.sources.base import Source
from indexer.work import PreviousVersion, WorkItem, WorkList
from storage.catalog.catalog import FileRecord
from storage.collection import Collection
from storage.manifest import Manifest
from storage.photo_uri import PhotoUri
from storage.segments.builder import SegmentBuilder
from storage.segments.schemas import CaptionRecord
from storage.segments.segment_set import SegmentSet


class PlanWriter(Protocol):
    """What a plan needs of a writer; `storage.writer.Writer` has it."""

    manifest: Manifest
    unfinished: SegmentBuilder | None

    @property
    def adopted(self) -> SegmentSet:
        """The segments that an interrupted run finished."""
        ...

    def tombstone(self, image_id: int) -> None:
        """Delete an image with the next publication."""
        ...

    def new_image_id(self) -> int:
        """Take an id that no image ever had."""
        ...

    def new_caption_id(self) -> int:
        """Take an id that no caption ever had."""
        ...


class Plan:
    """Compares what the collection should hold with what it holds.

    A photo or description that changed is encoded under a new id, and the old image gets a tombstone. So does an image whose
    file is gone and whose content was found elsewhere: the photo was moved. A rebuild keeps the ids of photos and captions.
    The result is the same whether or not a run was interrupted.

    Attributes:
        known: the images that may stay as they are: what is published (not in a rebuild), and what an interrupted run encoded.
        entries: photos that this run encodes.
        replaced: published images that this run replaces.
        resumed: images that an interrupted run encoded.
        removed: published images that are removed because their source has them no more.
    """

    def __init__(self, collection: Collection, writer: PlanWriter, rebuild: bool, embedded_captions: bool = True):
        """Read what the collection holds. `embedded_captions`: a description in a photo's own file is a caption."""
        self._writer, self._rebuild, self._embedded_captions = writer, rebuild, embedded_captions
        self._previous: PreviousVersion | None = None
        if rebuild:
            rows = collection.salvage()
            self._previous = PreviousVersion(rows, KnownUris(rows))
        self._removed_ids: set[int] = set()
        self.entries = self.replaced = self.resumed = self.removed = 0
        published = collection.open_rows() if writer.manifest.version and not rebuild else None
        self.known = KnownImages(published, writer.adopted, writer.unfinished)
        self._kept_captions = KeptCaptions(published or (self._previous.rows if self._previous else SegmentSet([])))
        for position in self.known.unpublished:
            image = self.known.at(position)
            self._remove_replaced(image.uri, image.sha256, before=position)
            self.resumed += 1

    @property
    def added(self) -> int:
        """The number of images that the next publication adds."""
        return self.entries + self.resumed

    @property
    def replaceable(self) -> int:
        """The number of images of the version that a rebuild replaces."""
        return 0 if self._previous is None else self._previous.uris.uri_count

    @property
    def change(self) -> str:
        """What the next publication changes, in words."""
        if self._rebuild:
            return f"rebuilt, {self.added} images"
        parts = {"added": self.added - self.replaced, "replaced": self.replaced, "removed": self.removed}
        return ", ".join(f"{count} {done}" for done, count in parts.items() if count) or "nothing"

    def work_list(self, source: Source, limit: int | None) -> WorkList:
        """The photos that the collection should hold.

        Args:
            source: its photos come first; in a rebuild, those that the collection has from other sources follow.
            limit: how many of the source's photos to take, from the first; None takes all.
        """
        return WorkList(source, limit, self._previous)

    def is_unchanged(self, work: WorkItem, file: FileRecord | None, paths: list[str]) -> bool:
        """True if a photo is known and its files have the same size and modification time as when they were last read.

        Args:
            work: the photo.
            file: what the catalog knows of its file.
            paths: the photo's files: the photo, a detector's features, or both.
        """
        known = self.known.get(work.uri)
        if known is None or file is None or known.description != work.description or not known.has_embedded:
            return False
        if (file.image_id, file.sha256) != (known.image_id, known.sha256):
            return False
        try:
            size, mtime_ns = work.photo_uri.state() if len(paths) == 1 else size_and_mtime(paths)
            return file.mtime_ns == mtime_ns and size in (None, file.size)
        except OSError:
            return False

    def content_to_skip(self, work: WorkItem) -> str | None:
        """The SHA-256 of the content that needs no decoding: the collection holds it with the same description.

        What an older program indexed is read once more, for what the photo says of itself; it is not encoded.
        """
        known = self.known.get(work.uri)
        is_same = known is not None and known.description == work.description and known.has_embedded
        return known.sha256 if known is not None and is_same else None

    def is_published(self, work: WorkItem) -> bool:
        """True if the known image of this photo was visible before this run."""
        known = self.known.get(work.uri)
        return known is not None and known.published

    def make_entry(self, work: WorkItem, photo: Photo) -> Entry:
        """Give ids to a photo that is new or changed, and a tombstone to what it replaces."""
        outdated, item = self.known.get(work.uri), work.item
        if self._embedded_captions:
            item = with_embedded_captions(item, photo.embedded)
        item = with_generated_captions(item, self._generated_captions(work.uri, photo.file.sha256))
        self._remove_replaced(work.uri, photo.file.sha256)
        kept = self._previous.uris.id_of(work.uri) if self._previous is not None and outdated is None else None
        self.entries += 1
        return Entry(
            image_id=self._writer.new_image_id() if kept is None else kept,
            uri=work.uri,
            caption_ids=list(self._caption_ids(kept, item.captions)),
            item=item,
            source=work.source,
            photo=photo,
            duplicate_of=self.known.with_content(photo.file.sha256),
        )

    def vanished(self, root: str, hidden_prefixes: Iterable[str]) -> list[KnownImage]:
        """The images that the collection has from a source and that the source has no more.

        Args:
            root: the source.
            hidden_prefixes: how the uris of photos begin that the source could not list; they are not counted.
        """
        prefixes = tuple(hidden_prefixes)
        return [
            image
            for image in self.known.unnamed(root)
            if image.image_id not in self._removed_ids and not image.uri.startswith(prefixes)
        ]

    def published_count(self, root: str) -> int:
        """The number of published images of a source."""
        return self.known.published_count(root)

    def remove(self, image: KnownImage) -> None:
        """Remove an image from the collection with the next publication."""
        self._tombstone(image)
        self.removed += image.published

    def release(self) -> None:
        """Free the memory of what is known, when every photo is settled. The counts stay."""
        del self.known, self._previous, self._kept_captions

    def _remove_replaced(self, uri: str, sha256: str, before: int | None = None) -> None:
        """Give tombstones to what a photo replaces: the image of its uri, and that of the file from which it was moved."""
        outdated, same_content = self.known.get(uri, before), self.known.with_content(sha256)
        was_moved = same_content is not None and not PhotoUri.at(same_content.uri).exists()
        for image in (outdated, same_content if was_moved else None):
            if image is not None and image.image_id not in self._removed_ids:
                self._tombstone(image)
                self.replaced += image.published

    def _tombstone(self, image: KnownImage) -> None:
        self._removed_ids.add(image.image_id)
        self._writer.tombstone(image.image_id)
        if not image.published:
            self.resumed -= 1

    def _generated_captions(self, uri: str, sha256: str) -> list[CaptionRecord]:
        """The captions of this content that a model wrote: they hold for it under any id."""
        if self._previous is None:
            same = self.known.with_content(sha256)
            return [] if same is None else self._kept_captions.of(same.image_id)
        image_id = self._previous.uris.id_of(uri)
        kept = [] if image_id is None else self._kept_captions.of(image_id)
        return kept if kept and self._previous.rows.images([image_id or 0])[0].sha256 == sha256 else []

    def _caption_ids(self, kept_image: int | None, captions: list[SourceCaption]) -> Iterator[int]:
        """The ids that an image's captions had in the previous version, and new ids for the others."""
        previous: dict[tuple[str, str], list[int]] = {}
        if kept_image is not None and self._previous is not None:
            for record in self._previous.rows.captions_of([kept_image])[kept_image]:
                previous.setdefault((record.language, record.text), []).append(record.caption_id)
        for caption in captions:
            same = previous.get((caption.language, caption.text))
            yield same.pop(0) if same else self._writer.new_caption_id()
