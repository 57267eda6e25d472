"""A collection: a folder with a manifest, its segments and its index files."""

from contextlib import suppress
from pathlib import Path

from storage.errors import BrokenManifest, BrokenSegment, EmptyCollection, StorageError
from storage.manifest import Manifest
from storage.segment_reader import Segment
from storage.segment_set import SegmentSet
from storage.segments import SegmentInfo
from storage.snapshot import Snapshot
from storage.writer import Writer


class Collection:
    """A named set of images with captions. `Home.collection` and `Home.create_collection` make these."""

    def __init__(self, folder: Path):
        self.folder = folder

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def manifest(self) -> Manifest:
        """The published version at this instant; version 0 when nothing was published. Raises BrokenManifest."""
        return Manifest.load(self.folder / "manifest.json")

    def open_snapshot(self) -> Snapshot:
        """The last published version, opened for reading. Raises EmptyCollection, BrokenManifest, BrokenSegment or
        BrokenIndex."""
        while True:
            manifest = self.manifest
            if manifest.version == 0:
                raise EmptyCollection(self.name)
            try:
                return Snapshot(self.folder, manifest)
            except StorageError:
                if self.manifest.version == manifest.version:
                    raise
                # A newer version was published, and took the old files away, while we were opening them.

    def writer(self, fingerprint: str, rebuild: bool = False) -> Writer:
        """The only writer; with `rebuild`, what it publishes replaces everything, also what is damaged.

        Raises CollectionBusy, OtherWeights or BrokenManifest.
        """
        try:
            return Writer(self.folder, fingerprint, self.manifest, rebuild)
        except BrokenManifest:
            if not rebuild:
                raise
        return Writer(self.folder, fingerprint, self._guessed_manifest(), rebuild, guessed=True)

    def salvage(self) -> SegmentSet:
        """The published rows that can be read, for a rebuild after damage; empty where there are none.

        With the manifest damaged that is every whole segment, and tombstones are not known: of two images with the
        same uri the one with the higher id is the living one.
        """
        try:
            names, tombstones = self.manifest.segments, self.manifest.tombstones
        except BrokenManifest:
            names, tombstones = sorted(path.name for path in (self.folder / "segments").glob("*")), ()
        segments = []
        for name in names:
            with suppress(BrokenSegment):
                segments.append(Segment(self.folder / "segments" / name))
        return SegmentSet(segments, tombstones)

    def _guessed_manifest(self) -> Manifest:
        """In place of a damaged manifest: no content, and numbers beyond all that files tell of."""
        infos = []
        for path in (self.folder / "segments").glob("*"):
            with suppress(BrokenSegment):
                infos.append(SegmentInfo.load(path))
        versions = [int(path.name) for path in (self.folder / "index").glob("*") if path.name.isdigit()]
        return Manifest(
            version=max([1, *versions, *(info.base_version + 1 for info in infos)]),
            next_image_id=max([1, *(info.last_image_id + 1 for info in infos)]),
            next_caption_id=max([1, *(info.last_caption_id + 1 for info in infos)]),
        )
