"""What is on disk and in the database: segments, manifests, vector indexes and the catalog."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from storage.catalog.catalog import Catalog, FileRecord, RunRecord, VersionRecord
    from storage.collection import Collection
    from storage.home import Home
    from storage.manifest import Manifest
    from storage.segments.builder import SegmentData
    from storage.segments.schemas import CaptionRecord, ImageRecord
    from storage.snapshot import Snapshot
    from storage.vector_index.base import VectorIndex
    from storage.vector_index.flat import FaissFlatIndex
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

_MODULES = {
    "CaptionRecord": "storage.segments.schemas",
    "Catalog": "storage.catalog.catalog",
    "Collection": "storage.collection",
    "FaissFlatIndex": "storage.vector_index.flat",
    "FileRecord": "storage.catalog.catalog",
    "Home": "storage.home",
    "ImageRecord": "storage.segments.schemas",
    "Manifest": "storage.manifest",
    "RunRecord": "storage.catalog.catalog",
    "SegmentData": "storage.segments.builder",
    "Snapshot": "storage.snapshot",
    "VectorIndex": "storage.vector_index.base",
    "VersionRecord": "storage.catalog.catalog",
    "Writer": "storage.writer",
}


def __getattr__(name: str) -> object:
    """Import on first use: `--help` and worker processes must start fast."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_MODULES[name]), name)
