"""A collection: a folder with a manifest, its segments and its index files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from storage.errors import EmptyCollection, StorageError
from storage.manifest import Manifest
from storage.salvage import salvaged
from storage.segments.segment_set import SegmentSet
from storage.snapshot import Snapshot, rows_of
from storage.writer import Writer

Rows = TypeVar("Rows", bound=SegmentSet)


class Collection:
    """A named set of images with captions, made by `Home.collection` and `Home.create_collection`."""

    def __init__(self, folder: Path):
        """`folder` is the collection's folder; its name is the collection's."""
        self.folder = folder

    @property
    def name(self) -> str:
        """The collection's name."""
        return self.folder.name

    @property
    def manifest(self) -> Manifest:
        """The version that is published at this instant; version 0 if nothing was published.

        Raises:
            BrokenManifest: The manifest is damaged.
        """
        return Manifest.load(self.folder / "manifest.json")

    def open_snapshot(self) -> Snapshot:
        """Open the last published version for reading.

        Raises:
            EmptyCollection: Nothing was published.
            BrokenManifest: The manifest is damaged.
            BrokenSegment: A segment is damaged.
            UnreadableSegment: The system refuses to read a segment at the moment.
            BrokenIndex: An index file is damaged.
        """
        return self._open(Snapshot)

    def open_rows(self) -> SegmentSet:
        """Open the last published version without its index files. Raises what `open_snapshot` raises."""
        return self._open(rows_of)

    def _open(self, open_version: Callable[[Path, Manifest], Rows]) -> Rows:
        while True:
            manifest = self.manifest
            if manifest.version == 0:
                raise EmptyCollection(self.name)
            try:
                return open_version(self.folder, manifest)
            except StorageError:
                if self.manifest.version == manifest.version:
                    raise
                # A newer version was published meanwhile, and its writer removed the old files.

    def writer(self, fingerprint: str, rebuild: bool = False) -> Writer:
        """Lock the collection and open its only writer.

        Args:
            fingerprint: The fingerprint of the encoder that makes the vectors.
            rebuild: What is published replaces everything, damage included.

        Raises:
            CollectionBusy: Another process writes to the collection.
            OtherWeights: The collection was made by another encoder, and this is no rebuild.
            BrokenManifest: The manifest is damaged, and this is no rebuild.
        """
        return Writer(self.folder, fingerprint, rebuild)

    def salvage(self) -> SegmentSet:
        """The published rows that can still be read, for a rebuild after damage; see `storage.salvage`."""
        return salvaged(self.folder)
