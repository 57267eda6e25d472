"""A folder of a detector's features (`.npz`), with photos of the same names beside them, if any."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from encoder.inputs.image_inputs import features_in
from encoder.inputs.regions import ENDING
from indexer.errors import EmptySource
from indexer.items import Failure, SourceItem
from indexer.sources.base import Source
from indexer.sources.folder import PHOTOS, captions_beside, files_below


class RegionsSource(Source):
    """All `.npz` files and photos below a folder, one item for each name. An item's uri is its photo, or else its `.npz`.

    The photo of `name.npz`, or of `name.jpg.npz`, is `name.jpg` beside it. `name.txt` holds one caption a line; blank lines
    are skipped.
    """

    format = "regions"

    def __init__(self, root: Path):
        """List the folder.

        Raises:
            EmptySource: it holds no features.
        """
        problems: list[Failure] = []
        hidden_prefixes: list[str] = []
        files = _files_below(root, problems, hidden_prefixes)
        if not any(_is_features(path) for path in files):
            raise EmptySource(root, "a detector's features (npz)")
        photo_of = _paired(files)
        features_of = {photo: features for features, photo in photo_of.items()}
        items = (
            SourceItem(path, captions_beside(text, problems), _metadata(features_of.get(path)))
            for path, text in files.items()
            if path not in photo_of
        )
        super().__init__(root, items, problems, hidden_prefixes)


def is_features_folder(root: Path) -> bool:
    """True if a folder has features, and features for every photo in it."""
    files = _files_below(root, [], [])
    features = sum(map(_is_features, files))
    return features > 0 and len(_paired(files)) == len(files) - features


def with_features(folder: Path, record: dict[str, Any]) -> dict[str, Any]:
    """A manifest's record with the `.npz` that its `features` name as an absolute path.

    That path is the record's `image` if it has none. A record whose `features` name no `.npz` is returned as it is.
    """
    named = features_in(record)
    if named is None or "\0" in named:
        return record
    path = os.path.abspath(folder / named)
    rest = {key: value for key, value in record.items() if key != "features"}
    return rest | ({"features": path} if "image" in record else {"image": path})


def _files_below(root: Path, problems: list[Failure], hidden_prefixes: list[str]) -> dict[Path, str | None]:
    return {Path(path): text for path, text in files_below(root, PHOTOS | {ENDING}, problems, hidden_prefixes)}


def _paired(files: dict[Path, str | None]) -> dict[Path, Path]:
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
