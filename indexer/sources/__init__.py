"""Where photos come from."""

import os
from pathlib import Path

from indexer.errors import FORMATS, AmbiguousSource, EmptySource, MissingSource, UnknownFormat
from indexer.items import printable
from indexer.sources.base import Source
from indexer.sources.coco import ANNOTATIONS, CocoSource, is_annotations, remedy_for
from indexer.sources.folder import PHOTOS, FolderSource
from indexer.sources.manifest import ManifestSource
from indexer.sources.regions import RegionsSource, is_features_folder

__all__ = ["CocoSource", "FolderSource", "ManifestSource", "RegionsSource", "Source", "open_source"]

USUAL_MANIFEST = "manifest.jsonl"


def open_source(path: str | Path, format: str | None = None) -> Source:
    """List a source's photos, with their captions. `format` is "coco", "manifest", "folder", "regions" or None to detect it.

    Raises MissingSource, EmptySource, UnknownFormat, AmbiguousSource, BadManifestLine or BadAnnotations.
    """
    root = Path(os.path.abspath(Path(path).expanduser()))
    if format not in (None, *FORMATS):
        raise UnknownFormat(root, f"there is no format {format!r}")
    if (shown := printable(root)) != str(root):
        raise MissingSource(Path(shown), "has a name that is not UTF-8, rename it")
    if not os.path.exists(root):  # unlike Path.exists, also where the name is too long or may not be looked at
        raise MissingSource(root)
    if format != "manifest" and is_annotations(root):
        raise UnknownFormat(root, "it is a COCO annotation file", remedy_for(root))
    openers = {"coco": CocoSource, "manifest": _open_manifest, "folder": FolderSource, "regions": RegionsSource}
    opener = openers[format or _detect(root)]
    if root.is_file() and opener is not _open_manifest:
        raise UnknownFormat(root, f"it is a file, and the format {format} is a folder", "name the folder")
    if root.is_dir() and not os.access(root, os.R_OK | os.X_OK):
        raise MissingSource(root, "can't be read (permission denied)")
    return opener(root)


def _detect(root: Path) -> str:
    if root.is_file():
        return "manifest"
    if any(root.glob(ANNOTATIONS)):
        return "coco"
    if _manifests(root):
        return "manifest"
    return "regions" if is_features_folder(root) else "folder"


def _open_manifest(root: Path) -> ManifestSource:
    if root.is_file():
        if root.suffix.lower() in PHOTOS:
            raise UnknownFormat(root, "it is a photo, not a manifest", "name the folder that it is in")
        return ManifestSource(root)
    names = _manifests(root)
    if not names:
        raise EmptySource(root, f"a {USUAL_MANIFEST}")
    if USUAL_MANIFEST in names:
        return ManifestSource(root / USUAL_MANIFEST)
    if len(names) > 1:
        raise AmbiguousSource(root, names)
    return ManifestSource(root / names[0])


def _manifests(root: Path) -> list[str]:
    return sorted(path.name for path in root.glob("*.jsonl") if path.is_file() and not path.name.startswith("."))
