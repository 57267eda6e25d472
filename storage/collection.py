"""A collection: a folder with a manifest, its segments and its index files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from storage.errors import EmptyCollection, StorageError
from storage.manifest import Manifest
from storage.salvage import salvaged
from storage.segments.segment_set import SegmentSet
from storage.snapshot import Snapshot, rows_of
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
        return self._open(Snapshot)

    def open_rows(self) -> SegmentSet:
        """The same without its index files, which are as large in memory as on disk. Raises as `open_snapshot`."""
        return self._open(rows_of)

    def _open(self, opened: Callable[[Path, Manifest], SegmentSet]) -> SegmentSet:
        while True:
            manifest = self.manifest
            if manifest.version == 0:
                raise EmptyCollection(self.name)
            try:
                return opened(self.folder, manifest)
            except StorageError:
                if self.manifest.version == manifest.version:
                    raise
                # A newer version was published, and took the old files away, while we were opening them.

    def writer(self, fingerprint: str, rebuild: bool = False) -> Writer:
        """The only writer; with `rebuild`, what it publishes replaces everything, also what is damaged.

        Raises CollectionBusy, OtherWeights or BrokenManifest.
        """
        return Writer(self.folder, fingerprint, rebuild)

    def salvage(self) -> SegmentSet:
        """The published rows that can be read, for a rebuild after damage; see `storage.salvage`."""
        return salvaged(self.folder)
