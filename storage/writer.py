"""The writer of a collection. Segments are written first; then one instant of publication makes them visible."""

from __future__ import annotations

import os
import re
import uuid
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import numpy as np

from storage.errors import BrokenManifest, BrokenSegment, OtherWeights, WrongShape
from storage.files import TEMPORARY, remove
from storage.history import KEPT_VERSIONS, History
from storage.index_files import write_index
from storage.locking import take_lock
from storage.manifest import Manifest
from storage.photo_texts import FOLDER as TEXTS
from storage.photo_texts import PENDING
from storage.salvage import guessed_manifest
from storage.segments.builder import ADD, REBUILD, SegmentBuilder, SegmentData, SegmentInfo
from storage.segments.journal import ENDING, ImageBatch, Journal
from storage.segments.living import living_images, living_rows, mentions
from storage.segments.merging import merge, too_many_small
from storage.segments.reader import Segment
from storage.segments.schemas import CaptionRecord, ImageRecord
from storage.segments.segment_set import SegmentSet
from storage.vector_index.selection import IndexBudget, read_budget


class Writer:
    """Holds the collection's lock from construction to `close`; use it in a `with` block.

    A segment is durable when it is finished; a batch of an unfinished segment is durable when it was added. Both are visible
    only after `publish`.

    What a killed run left behind is taken over if it continues the published version with the same weights: finished
    segments (`adopted`) and the segment that was not finished (`unfinished`). All other leftovers are removed.

    Attributes:
        manifest: The version that is published now.
        unfinished: The unfinished segment of a killed run, to be continued; None if there is none.
        budget: What a search may cost. It may be set before a publication; None: as in the version before.
    """

    manifest: Manifest

    def __init__(self, folder: Path, fingerprint: str, rebuild: bool = False):
        """Lock a collection. If this raises, nothing was changed.

        Args:
            folder: The collection's folder.
            fingerprint: The fingerprint of the encoder that makes the vectors.
            rebuild: Publication replaces everything that was there, damage included.

        Raises:
            CollectionBusy: Another process writes to the collection.
            OtherWeights: The collection was made by another encoder, and this is no rebuild.
            BrokenManifest: The manifest is damaged, and this is no rebuild.
        """
        self._folder, self._fingerprint, self._rebuild = folder, fingerprint, rebuild
        self.budget: IndexBudget | None = None
        self._history = History(folder)
        self.unfinished: SegmentBuilder | None = None
        self._lock: int | None = take_lock(folder)
        try:
            self._begin()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the lock. What was not published stays for the next writer. A second call does nothing."""
        if self.unfinished is not None:
            self.unfinished.suspend()
            self.unfinished = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def new_image_id(self) -> int:
        """Take an id that no image of this collection ever had."""
        self._next_image += 1
        return self._next_image - 1

    def new_caption_id(self) -> int:
        """Take an id that no caption of this collection ever had."""
        self._next_caption += 1
        return self._next_caption - 1

    def tombstone(self, image_id: int) -> None:
        """Delete an image and its captions with the next publication."""
        self._tombstones.add(image_id)

    def begin_segment(self, dim: int, token_shape: tuple[int, int]) -> SegmentBuilder:
        """Begin a segment that is filled batch by batch, each durable at once, and then finished.

        Args:
            dim: D, the width of every vector.
            token_shape: (L, H), the shape of one image's tokens.

        Raises:
            WrongShape: The collection has vectors or tokens of another shape.
        """
        self._check_shape(dim, token_shape)
        return self._builder(dim, token_shape, self._purpose, journaled=True)

    def add_segment(self, data: SegmentData) -> str:
        """Write a whole segment. It is durable when this returns, and not yet visible.

        Returns:
            The segment's name.

        Raises:
            WrongShape: The arrays don't fit the collection or each other.
        """
        if data.image_vectors.ndim != 2 or data.tokens.ndim != 3:
            raise WrongShape("image_vectors must be [n, D] and tokens [n, L, H]")
        dim, token_shape = data.image_vectors.shape[1], (data.tokens.shape[1], data.tokens.shape[2])
        self._check_shape(dim, token_shape)
        builder = self._builder(dim, token_shape, self._purpose)
        try:
            builder.add_images(data.images, data.image_vectors, data.tokens, data.thumbnails)
            builder.add_captions(data.captions, data.caption_vectors)
            self._reserve_ids(data.images, data.captions)
            return builder.finish()
        except BaseException:
            builder.suspend()
            raise

    def publish(self, change: str = "") -> Manifest:
        """Make all finished segments and tombstones visible at once.

        If nothing has changed, nothing is published. What neither the new version nor a kept one needs is removed afterwards.

        Args:
            change: What the version changes, in words.

        Returns:
            The manifest of what is published now.
        """
        pending = self._pending()
        kept = () if self._rebuild else self.manifest.segments
        reindex = bool(pending) or self._budget() != self._budget_before()
        unchanged = not reindex and self._tombstones == set(self.manifest.tombstones)
        if unchanged or not (pending or kept):
            return self.manifest
        segments = self._opened([*kept, *pending])
        if pending:
            segments = self._merged(segments, too_many_small(segments))
        return self._commit(segments, reindex, change)

    def forget(self, old: list[int]) -> None:
        """Forget these old versions, and remove what only they needed."""
        for version in old:
            self._history.forget(version)
        self._sweep()

    def prune(self, old: int) -> None:
        """Forget all versions but the current one and the latest `old` ones before it; remove what only they needed."""
        self._history.prune(self.manifest.version, old)
        self._sweep()

    @property
    def adopted(self) -> SegmentSet:
        """The segments that a killed run finished; they are published with the rest."""
        return self._adopted

    @property
    def _segments(self) -> Path:
        return self._folder / "segments"

    def _budget(self) -> IndexBudget:
        return self.budget or self._budget_before()

    def _budget_before(self) -> IndexBudget:
        return read_budget(self._folder / "index" / self.manifest.index)

    @property
    def _dead(self) -> np.ndarray:
        return np.array(sorted(self._tombstones), np.int64)

    def _begin(self) -> None:
        """Read the manifest, which nobody else can change now, and take over or remove leftovers."""
        try:
            self.manifest = Manifest.load(self._folder / "manifest.json")
        except BrokenManifest:
            if not self._rebuild:
                raise
            self.manifest = guessed_manifest(self._folder)  # and nothing is swept: the true one may be restored yet
        else:
            self._check_leftovers()
            self._history.agree_with(self.manifest)
            self._sweep()
        self._tombstones = set() if self._rebuild else set(self.manifest.tombstones)
        self._adopt()

    def _check_leftovers(self) -> None:
        indexed = self.manifest.fingerprint
        if self.manifest.version and not self._rebuild and indexed != self._fingerprint:
            raise OtherWeights(self._folder.name, indexed, self._fingerprint)

    def _adopt(self) -> None:
        self._finished_before = self._opened(self._pending())
        self._adopted = SegmentSet(self._finished_before)
        infos = [segment.info for segment in self._finished_before]
        self._next_image, self._next_caption = self.manifest.next_image_id, self.manifest.next_caption_id
        self._next_image, self._next_caption = self._beyond(infos)
        for name in self._journals():
            infos.append(self._take_over(name))
        self._shapes = [(info.dim, info.token_shape) for info in infos]

    def _take_over(self, name: str) -> SegmentInfo:
        """Continue the unfinished segment of a killed run, and say what it is."""
        journal = Journal(self._segments / (name + ENDING))
        about = journal.about()
        assert about is not None  # `_has_begun` has read it
        info = SegmentInfo.from_json(about)
        self.unfinished = SegmentBuilder.continued(self._segments / (TEMPORARY + name), self._segments / name, info, journal)
        self._reserve_ids(self.unfinished.images, self.unfinished.captions)
        return info

    def _beyond(self, infos: list[SegmentInfo]) -> tuple[int, int]:
        """The next image id and caption id that neither this writer nor these segments have used."""
        return (
            max([self._next_image, *(info.last_image_id + 1 for info in infos)]),
            max([self._next_caption, *(info.last_caption_id + 1 for info in infos)]),
        )

    def _check_shape(self, dim: int, token_shape: tuple[int, int]) -> None:
        known = list(self._shapes)
        if self.manifest.segments and not self._rebuild:
            known.append((self.manifest.dim, self.manifest.token_shape))
        if any(shape != (dim, tuple(token_shape)) for shape in known):
            raise WrongShape(f"vectors of {dim}, tokens of {token_shape} in a collection of {known[0]}")

    def _opened(self, names: list[str] | tuple[str, ...]) -> list[Segment]:
        return [Segment(self._segments / name, held=False) for name in names]

    def _merged(self, segments: list[Segment], chosen: list[Segment]) -> list[Segment]:
        """The segments, with the chosen ones merged and without their deleted images."""
        info = segments[0].info
        living = living_images(segments, self._dead)
        names = merge(chosen, self._tombstones, living, lambda purpose: self._builder(info.dim, info.token_shape, purpose))
        return [segment for segment in segments if segment not in chosen] + self._opened(names)

    def _commit(self, segments: list[Segment], reindex: bool, change: str) -> Manifest:
        """Publish these segments as the next version."""
        version = self.manifest.version + 1
        self._next_image, self._next_caption = self._beyond([segment.info for segment in segments])
        dead = self._dead
        held = np.concatenate([mentions(segment, dead) for segment in segments])
        living = [[len(rows) for rows in own] for own in living_rows(segments, dead)]
        index = self._folder / "index" / str(version)
        return self._save(
            Manifest(
                version=version,
                fingerprint=self._fingerprint,
                dim=segments[0].info.dim,
                token_shape=segments[0].info.token_shape,
                segments=tuple(segment.folder.name for segment in segments),
                tombstones=tuple(np.unique(held).tolist()),
                index=write_index(index, segments, dead, self._budget()) if reindex else self.manifest.index,
                next_image_id=self._next_image,
                next_caption_id=self._next_caption,
                published_at=now(),
                images=sum(images for images, _ in living),
                captions=sum(captions for _, captions in living),
                change=change,
                texts=self.manifest.texts,
            )
        )

    def _save(self, manifest: Manifest) -> Manifest:
        """Publish. Readers see the old version before this, the new one after it, and each of them is whole."""
        self._history.keep(manifest)
        manifest.save(self._folder / "manifest.json")
        self.manifest, self._rebuild, self._shapes = manifest, False, []
        self._tombstones = set(manifest.tombstones)
        self._fingerprint = manifest.fingerprint
        with suppress(OSError):  # what can't be removed now is removed by the next writer
            self.prune(KEPT_VERSIONS)
        return manifest

    def _reserve_ids(self, images: list[ImageRecord], captions: list[CaptionRecord]) -> None:
        """Never give these ids away again."""
        self._next_image = max([self._next_image, *(image.image_id + 1 for image in images)])
        self._next_caption = max([self._next_caption, *(caption.caption_id + 1 for caption in captions)])

    @property
    def _purpose(self) -> str:
        return REBUILD if self._rebuild else ADD

    def _builder(self, dim: int, token_shape: tuple[int, int], purpose: str, journaled: bool = False) -> SegmentBuilder:
        info = SegmentInfo(self._fingerprint, dim, token_shape, self.manifest.version, purpose)
        name = self._new_segment_name()
        journal = Journal.create(self._segments / (name + ENDING), asdict(info)) if journaled else None
        return SegmentBuilder(self._segments / (TEMPORARY + name), self._segments / name, info, journal)

    def _new_segment_name(self) -> str:
        # The number tells the order; the random part makes sure that a name is never used for another content.
        numbers = [int(match[0]) for name in self._names() if (match := re.match(r"\d+", name))]
        return f"{max(numbers, default=0) + 1:08d}-{uuid.uuid4().hex[:8]}"

    def _names(self) -> list[str]:
        return sorted(path.name for path in self._segments.glob("*")) if self._segments.is_dir() else []

    def _pending(self) -> list[str]:
        """The names of finished segments that continue the published version and are not in it."""
        return [name for name in self._names() if name not in self.manifest.segments and self._is_pending(name)]

    def _is_pending(self, name: str) -> bool:
        if name.startswith(TEMPORARY) or name.endswith(ENDING):
            return False
        try:
            folder = self._segments / name
            return self._continues(SegmentInfo.load(folder)) and bool(Segment(folder, held=False))
        except BrokenSegment:
            return False

    def _journals(self) -> list[str]:
        """The name of the unfinished segment that continues the published version, if there is one."""
        names = self._names()
        begun = [name.removesuffix(ENDING) for name in names if name.endswith(ENDING)]
        return [name for name in begun if name not in names and self._has_begun(name)][:1]

    def _has_begun(self, name: str) -> bool:
        journal = Journal(self._segments / (name + ENDING))
        about = journal.about()
        if about is None or not self._continues(SegmentInfo.from_json(about)):
            return False
        return isinstance(next(journal.batches(), None), ImageBatch)

    def _continues(self, info: SegmentInfo) -> bool:
        wanted = (self._fingerprint, self.manifest.version, self._purpose)
        return (info.fingerprint, info.base_version, info.purpose) == wanted

    def _sweep(self) -> None:
        """Remove what no kept version names and the next publication can't use."""
        kept = [self.manifest, *self._history.manifests()]
        keep = {*(name for manifest in kept for name in manifest.segments), *self._pending()}
        keep.update(name + ENDING for name in self._journals())
        for path in [self._segments / name for name in self._names()]:
            if path.name not in keep:
                remove(path)
        indexes = {manifest.index for manifest in kept}
        texts = {PENDING, *(manifest.texts for manifest in kept)}
        for folder, names in (("index", indexes), (TEXTS, texts)):
            for path in (self._folder / folder).glob("*"):
                if path.name not in names:
                    remove(path)


def now() -> str:
    """The present time, ISO 8601, in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")
