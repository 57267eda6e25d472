"""From a source to a published version of a collection."""

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

_HOMES = {
    "BuildSummary": "indexer.build",
    "build_index": "indexer.build",
    "Failure": "indexer.items",
    "SourceCaption": "indexer.items",
    "SourceItem": "indexer.items",
}


def __getattr__(name: str) -> object:
    """Import on first use: worker processes come through here, and must start without FAISS and SQLAlchemy."""
    if name not in __all__:
        raise AttributeError(f"module 'indexer' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES.get(name, "indexer.sources")), name)
