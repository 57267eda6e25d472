"""Indexes a source of photos and captions: its result is a published version of a collection."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from indexer.build import BuildSummary, build_index
    from indexer.items import Failure, SourceCaption, SourceItem
    from indexer.sources import CocoSource, FolderSource, ManifestSource, RegionsSource, WebDatasetSource, open_source

__all__ = [
    "BuildSummary",
    "CocoSource",
    "Failure",
    "FolderSource",
    "ManifestSource",
    "RegionsSource",
    "SourceCaption",
    "SourceItem",
    "WebDatasetSource",
    "build_index",
    "open_source",
]

_MODULES = {
    "BuildSummary": "indexer.build",
    "CocoSource": "indexer.sources",
    "Failure": "indexer.items",
    "FolderSource": "indexer.sources",
    "ManifestSource": "indexer.sources",
    "RegionsSource": "indexer.sources",
    "SourceCaption": "indexer.items",
    "SourceItem": "indexer.items",
    "WebDatasetSource": "indexer.sources",
    "build_index": "indexer.build",
    "open_source": "indexer.sources",
}


def __getattr__(name: str) -> object:
    """Import a name on first use, because `--help` and worker processes must start fast."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_MODULES[name]), name)
