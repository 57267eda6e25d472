"""What is on disk and in the database: segments, manifests, vector indexes and the catalog."""

from storage.catalog import Catalog, FileRecord, RunRecord, VersionRecord
from storage.collection import Collection
from storage.home import Home
from storage.manifest import Manifest
from storage.records import CaptionRecord, ImageRecord
from storage.segments import SegmentData
from storage.snapshot import Snapshot
from storage.vectors import FaissFlatIndex, VectorIndex
from storage.writer import Writer

__all__ = [
    "CaptionRecord",
    "Catalog",
    "Collection",
    "FaissFlatIndex",
    "FileRecord",
    "Home",
    "ImageRecord",
    "Manifest",
    "RunRecord",
    "SegmentData",
    "Snapshot",
    "VectorIndex",
    "VersionRecord",
    "Writer",
]
