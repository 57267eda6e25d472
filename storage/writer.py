"""Changing a collection: one writer at a time, segments first, then one instant in which they become visible."""

import os
import re
import uuid
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from storage.errors import BrokenManifest, BrokenSegment, OtherWeights, WrongShape
from storage.files import TEMPORARY, make_folder, move_into_place, remove
from storage.index_choice import Budget, write_index_files
from storage.locking import take_lock
from storage.manifest import Manifest
from storage.merging import merge, too_many_small
from storage.recovery import guessed_manifest
from storage.segment_reader import Segment
from storage.segment_set import SegmentSet
from storage.segments import ADD, MERGE, REBUILD, SegmentBuilder, SegmentData, SegmentInfo


class Writer:
    """Holds the collection's lock from construction to `close`; use it in a `with`.

    A segment is durable when it is finished and visible when it is published. Finished segments that a killed run left
    behind are taken over (`adopted`, to be read by id) where they continue the published version with the same
    weights; all other leftovers are removed. With `rebuild`, publication replaces all that was there. `budget` says what a
    search may cost, and may be set before a publication.
    """

    def __init__(self, folder: Path, fingerprint: str, rebuild: bool = False):
        """Raises CollectionBusy, OtherWeights or, but in a rebuild, BrokenManifest; nothing is changed then."""
        self._folder, self._fingerprint, self._rebuild = folder, fingerprint, rebuild
        self.budget = Budget()
        self._lock: int | None = take_lock(folder)
        try:
            self._begin()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the lock back; once is enough. What was not published stays for the next writer."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def new_image_id(self) -> int:
        """An id that no image of this collection ever had."""
        self._next_image += 1
        return self._next_image - 1

    def new_caption_id(self) -> int:
        """An id that no caption of this collection ever had."""
        self._next_caption += 1
        return self._next_caption - 1

    def tombstone(self, image_id: int) -> None:
        """Take an image and its captions out of the collection with the next publication."""
        self._tombstones.add(image_id)

    def begin_segment(self, dim: int, token_shape: tuple[int, int]) -> SegmentBuilder:
        """A segment to be filled batch by batch, then finished. Raises WrongShape."""
        known = list(self._shapes)
        if self.manifest.segments and not self._rebuild:
            known.append((self.manifest.dim, self.manifest.token_shape))
        if any(shape != (dim, tuple(token_shape)) for shape in known):
            raise WrongShape(f"vectors of {dim}, tokens of {token_shape} in a collection of {known[0]}")
        return self._builder(dim, token_shape, self._purpose)

    def add_segment(self, data: SegmentData) -> str:
        """Write a whole segment; its name. Durable when this returns, not yet visible. Raises WrongShape."""
        if data.image_vectors.ndim != 2 or data.tokens.ndim != 3:
            raise WrongShape("image_vectors must be [n, D] and tokens [n, L, H]")
        builder = self.begin_segment(data.image_vectors.shape[1], data.tokens.shape[1:])
        try:
            builder.add_images(data.images, data.image_vectors, data.tokens, data.thumbnails)
            builder.add_captions(data.captions, data.caption_vectors)
            self._never_hand_out(data)
            return builder.finish()
        except BaseException:
            builder.discard()
            raise

    def publish(self) -> Manifest:
        """Make all finished segments and tombstones visible at once; the manifest that says so.

        Publishes nothing where nothing has changed. What the new version doesn't need is removed afterwards.
        """
        pending = self._pending()
        kept = () if self._rebuild else self.manifest.segments
        unchanged = not pending and self._tombstones == set(self.manifest.tombstones)
        if unchanged or not (pending or kept):
            return self.manifest
        segments = [Segment(self._segments / name) for name in (*kept, *pending)]
        self._next_image, self._next_caption = self._beyond([segment.info for segment in segments])
        if pending:
            segments = self._merged(segments)
        manifest = self._next_manifest(segments, write_index=bool(pending))
        manifest.save(self._folder / "manifest.json")
        self.manifest, self._rebuild, self._shapes = manifest, False, []
        self._sweep()
        return manifest

    @property
    def _segments(self) -> Path:
        return self._folder / "segments"

    def _begin(self) -> None:
        """Read the manifest, which only now nobody else can change, and put leftovers in order."""
        try:
            self.manifest = Manifest.load(self._folder / "manifest.json")
        except BrokenManifest:
            if not self._rebuild:
                raise
            self.manifest = guessed_manifest(self._folder)  # and nothing is swept: the true one may be restored yet
        else:
            self._refuse_other_weights()
            self._sweep()
        self._tombstones = set() if self._rebuild else set(self.manifest.tombstones)
        self._adopt()

    def _refuse_other_weights(self) -> None:
        indexed = self.manifest.fingerprint
        if self.manifest.version and not self._rebuild and indexed != self._fingerprint:
            raise OtherWeights(self._folder.name, indexed, self._fingerprint)

    def _adopt(self) -> None:
        segments = [Segment(self._segments / name) for name in self._pending()]
        self.adopted = SegmentSet(segments)
        self._shapes = [(segment.info.dim, segment.info.token_shape) for segment in segments]
        self._next_image, self._next_caption = self.manifest.next_image_id, self.manifest.next_caption_id
        self._next_image, self._next_caption = self._beyond([segment.info for segment in segments])

    def _beyond(self, infos: list[SegmentInfo]) -> tuple[int, int]:
        """The next image id and caption id that neither we nor these segments have used."""
        return (
            max([self._next_image, *(info.last_image_id + 1 for info in infos)]),
            max([self._next_caption, *(info.last_caption_id + 1 for info in infos)]),
        )

    def _merged(self, segments: list[Segment]) -> list[Segment]:
        """The segments with the small ones merged, if those have become many."""
        small = too_many_small(segments)
        info = segments[0].info
        names = merge(small, self._tombstones, lambda: self._builder(info.dim, info.token_shape, MERGE))
        merged = [Segment(self._segments / name) for name in names]
        return [segment for segment in segments if segment not in small] + merged

    def _next_manifest(self, segments: list[Segment], write_index: bool) -> Manifest:
        version = self.manifest.version + 1
        held = np.concatenate([segment.image_ids for segment in segments])
        return Manifest(
            version=version,
            fingerprint=self._fingerprint,
            dim=segments[0].info.dim,
            token_shape=segments[0].info.token_shape,
            segments=tuple(segment.folder.name for segment in segments),
            tombstones=tuple(sorted(self._tombstones.intersection(held.tolist()))),
            index=self._write_index(version, segments) if write_index else self.manifest.index,
            next_image_id=self._next_image,
            next_caption_id=self._next_caption,
            published_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    def _never_hand_out(self, data: SegmentData) -> None:
        self._next_image = max([self._next_image, *(image.image_id + 1 for image in data.images)])
        self._next_caption = max([self._next_caption, *(caption.caption_id + 1 for caption in data.captions)])

    @property
    def _purpose(self) -> str:
        return REBUILD if self._rebuild else ADD

    def _builder(self, dim: int, token_shape: tuple[int, int], purpose: str) -> SegmentBuilder:
        info = SegmentInfo(self._fingerprint, dim, tuple(token_shape), self.manifest.version, purpose)
        name = self._new_segment_name()
        return SegmentBuilder(self._segments / (TEMPORARY + name), self._segments / name, info)

    def _new_segment_name(self) -> str:
        # The number tells the order; the random part makes sure that a name is never used for another content.
        numbers = [int(match[0]) for name in self._names() if (match := re.match(r"\d+", name))]
        return f"{max(numbers, default=0) + 1:08d}-{uuid.uuid4().hex[:8]}"

    def _names(self) -> list[str]:
        return sorted(path.name for path in self._segments.glob("*")) if self._segments.is_dir() else []

    def _pending(self) -> list[str]:
        """Finished segments that continue the published version and are not in it."""
        return [name for name in self._names() if name not in self.manifest.segments and self._continues(name)]

    def _continues(self, name: str) -> bool:
        if name.startswith(TEMPORARY):
            return False
        try:
            info = Segment(self._segments / name).info
        except BrokenSegment:
            return False
        wanted = (self._fingerprint, self.manifest.version, self._purpose)
        return (info.fingerprint, info.base_version, info.purpose) == wanted

    def _sweep(self) -> None:
        """Remove what the published version doesn't name and no publication can use."""
        keep = {*self.manifest.segments, *self._pending()}
        for path in [self._segments / name for name in self._names()]:
            if path.name not in keep:
                remove(path)
        for path in (self._folder / "index").glob("*"):
            if path.name != self.manifest.index:
                remove(path)

    def _write_index(self, version: int, segments: list[Segment]) -> str:
        """Both index files of everything that is alive, durable; the folder's name."""
        final = self._folder / "index" / str(version)
        temporary = final.with_name(f"{TEMPORARY}{version}")
        remove(temporary)
        remove(final)
        make_folder(temporary)
        write_index_files(temporary, segments, np.array(sorted(self._tombstones), np.int64), self.budget)
        move_into_place(temporary, final)
        return final.name
