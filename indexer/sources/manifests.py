"""Which files of a folder are manifests, and opening them."""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path
from typing import Any

from encoder.inputs.image_inputs import features_in
from indexer.errors import AmbiguousSource, EmptySource, UnknownFormat
from indexer.sources.base import Source
from indexer.sources.coco import CocoSource, seems_karpathy
from indexer.sources.listing import METADATA_TABLES, PHOTOS
from indexer.sources.manifest import ManifestSource
from indexer.sources.record_files import json_lines
from indexer.sources.records import CLEAR_IMAGE_KEYS, names_photo

USUAL_MANIFESTS = "manifest.jsonl", "manifest.parquet"
LINES_LOOKED_AT = 20
ARCHIVES = frozenset({".gz", ".tgz", ".bz2", ".tbz", ".xz", ".txz", ".zst", ".zip", ".7z", ".rar"})


def has_manifest(folder: Path) -> bool:
    """True if a folder clearly is a dataset: a list of a usual name names photos, or any list names some that are there."""
    return any(_is_clear(folder / name, name in USUAL_MANIFESTS) for name in manifests_in(folder))


def manifests_in(folder: Path) -> list[str]:
    """The names of the manifests directly in a folder, sorted."""
    found = [path for ending in ("jsonl", "parquet") for path in folder.glob(f"*.{ending}")]
    return sorted(
        path.name for path in found if path.is_file() and not path.name.startswith(".") and path.name not in METADATA_TABLES
    )


def all_manifests(folder: Path) -> list[str]:
    """The manifests directly in a folder; if there are none, the Parquet files in its sub-folders, by relative path."""
    nested = (path.relative_to(folder) for path in (*folder.glob("*/*.parquet"), *folder.glob("*/*/*.parquet")))
    return manifests_in(folder) or sorted(str(path) for path in nested if not any(part[0] == "." for part in path.parts))


def open_manifest(root: Path) -> Source:
    """Open a manifest, or the one of a folder. Parquet files of one folder are one manifest.

    Raises:
        EmptySource: the folder has none.
        AmbiguousSource: it has several.
        UnknownFormat: the file is none.
    """
    if root.is_file():
        return _open_file(root)
    names = all_manifests(root)
    if not names:
        raise EmptySource(root, f"a {USUAL_MANIFESTS[0]}")
    usual = [name for name in USUAL_MANIFESTS if name in names]
    if not usual and len(names) > 1:
        names = [name for name in names if _is_clear(root / name, False)] or names
    if usual or len(names) == 1:
        return _open_file(root / (usual or names)[0])
    if all(name.endswith(".parquet") for name in names):
        from indexer.sources.parquet import lacks_photos

        parts = [root / name for name in names]
        return _parquet(root, [part for part in parts if not lacks_photos(part)] or parts)
    raise AmbiguousSource(root, names)


def _open_file(path: Path) -> Source:
    ending = path.suffix.lower()
    if ending in PHOTOS:
        raise UnknownFormat(path, "it is a photo, not a manifest", "name the folder that it is in")
    if ending in ARCHIVES:
        raise UnknownFormat(path, "it is compressed", "unpack it and name what was in it")
    if ending == ".json" and seems_karpathy(path):
        return CocoSource(path)
    return _parquet(path, [path]) if ending == ".parquet" else ManifestSource(path)


def _parquet(root: Path, parts: list[Path]) -> Source:
    from indexer.sources.parquet import ParquetSource  # pyarrow takes a while to import, and few sources need it

    return ParquetSource(root, parts)


def _is_clear(path: Path, is_usual: bool) -> bool:
    if path.suffix == ".parquet":
        from indexer.sources.parquet import names_photos

        return names_photos(path, path.parent) if not is_usual else names_photos(path)
    records = _first_lines(path)
    if not is_usual:
        records = [one for one in records if isinstance(one, dict) and any(key in one for key in CLEAR_IMAGE_KEYS)]
    names = [name for name in map(_named, records) if name is not None]
    return bool(names) if is_usual else any(os.path.exists(path.parent / name) for name in names)


def _named(record: object) -> str | None:
    """The file that a record is about: a photo, or a detector's features of it."""
    photo = names_photo(record)
    return features_in(record) if photo is None and isinstance(record, dict) else photo


def _first_lines(path: Path) -> list[Any]:
    try:
        return [record for _, record in islice(json_lines(path), LINES_LOOKED_AT)]
    except OSError:
        return []
