"""A folder of a detector's features (`.npz`), with photos of the same names beside them, if any."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from encoder.inputs.image_inputs import features_in
from encoder.inputs.regions import ENDING
from indexer.errors import EmptySource
from indexer.sources.base import Source
from indexer.sources.listing import PHOTOS, FolderListing, listed_item, names_below

REGIONS = PHOTOS | {ENDING}


class RegionsSource(Source):
    """All `.npz` files and photos below a folder, one item for each name. An item's uri is its photo, or else its `.npz`.

    The photo of `name.npz`, or of `name.jpg.npz`, is `name.jpg` beside it. `name.txt` holds one caption a line; blank lines
    are skipped.
    """

    format = "regions"

    def __init__(self, root: Path, exclude: Sequence[str] = ()):
        """List the folder.

        Raises:
            EmptySource: it holds no features.
        """
        listing = FolderListing(root, exclude, REGIONS)
        files = {Path(file.path): file for file in listing}
        if not any(map(_is_features, files)):
            raise EmptySource(root, "a detector's features (npz)")
        photo_of = _paired(files)
        features_of = {photo: features for features, photo in photo_of.items()}
        listed = ((listed_item(file, listing), features_of.get(path)) for path, file in files.items() if path not in photo_of)
        items = (replace(item, metadata=item.metadata | _metadata(features)) for item, features in listed)
        super().__init__(root, items, listing.problems, listing.hidden_prefixes, listing.unused)
        self.tables = listing.tables


def is_features_folder(root: Path) -> bool:
    """True if a folder has features, and features for every photo in it."""
    if not any(name.lower().endswith(ENDING) for name in names_below(root)):
        return False
    files = [Path(file.path) for file in FolderListing(root, endings=REGIONS)]
    features = sum(map(_is_features, files))
    return features > 0 and len(_paired(files)) == len(files) - features


def with_features(folder: Path, record: dict[str, Any], has_image: bool) -> dict[str, Any]:
    """A manifest's record with the `.npz` that its `features` name as an absolute path.

    That path is the record's `image` if it has none, as `has_image` says. A record whose `features` name no `.npz` is returned
    as it is.
    """
    named = features_in(record)
    if named is None or "\0" in named:
        return record
    path = os.path.abspath(folder / named)
    rest = {key: value for key, value in record.items() if key != "features"}
    return rest | ({"features": path} if has_image else {"image": path})


def _paired(files: Iterable[Path]) -> dict[Path, Path]:
    """Features -> their photo, if it exists; a photo belongs to one `.npz` only."""
    by_name: dict[Path, Path] = {}
    for path in files:
        if not _is_features(path):
            by_name.setdefault(path.with_suffix(""), path)
            by_name[path] = path
    features_of: dict[Path, Path] = {}
    for path in filter(_is_features, files):
        if (photo := by_name.get(path.with_suffix(""))) is not None:
            features_of.setdefault(photo, path)
    return {features: photo for photo, features in features_of.items()}


def _is_features(path: Path) -> bool:
    return path.suffix.lower() == ENDING


def _metadata(features: Path | None) -> dict[str, str]:
    return {} if features is None else {"features": str(features)}
