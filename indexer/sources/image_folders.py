"""The folders that hold a COCO's images, and finding an image in them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from indexer.items import Failure, one_line, printable

NAMED = 5
SPLIT = re.compile(r"(?:train|val|test|dev|minival)", re.IGNORECASE)


class ImageFolders:
    """Finds images by the names that an annotation file gives them."""

    def __init__(self, root: Path, split: str, other_splits: Iterable[str] = ()):
        """Look for folders of images.

        Args:
            root: the folder of everything.
            split: what the annotation file is named after, such as "val2017".
            other_splits: what the other files are named after. The images of train2017 are not looked for in val2017.
        """
        self._root, self._ambiguous = root, dict[str, list[str]]()
        self._own = [folder for parent in (root, root / "images") for folder in _of_split(parent, split)]
        others = [one for one in other_splits if one != split] if SPLIT.match(split) else []
        self._all = self._own + [
            folder
            for folder in _image_folders(root)
            if folder not in self._own and not any(_is_named_after(other, folder.name) for other in others)
        ]
        self._is_there: dict[str, bool] = {}

    def find(self, name: str) -> list[Path]:
        """Where the image is; where it should be, if it isn't there; and all places, if it may be in several.

        The place is where the name says it, in the folder that the annotation file is named after, or else in the only folder
        that has the name.
        """
        if "/" in name and os.path.exists(os.path.join(self._root, name)):
            return [_joined(self._root, name)]
        for folder in self._own:
            if os.path.exists(os.path.join(folder, name)):
                return [_joined(folder, name)]
        found = list(dict.fromkeys(_joined(folder, name) for folder in self._all if os.path.exists(os.path.join(folder, name))))
        if len({os.path.realpath(path) for path in found}) > 1:
            self._ambiguous[name] = [os.path.relpath(path.parent, self._root) for path in found]
            return found
        return found[:1] or [_joined((self._all or [self._root])[0], name)]

    def has_folder_of(self, name: str) -> bool:
        """True if the folder in a name is there, or if the image is, wherever."""
        folder = os.path.dirname(name)
        if folder not in self._is_there:
            self._is_there[folder] = any((place / folder).is_dir() for place in (self._root, self._root / "images"))
        return self._is_there[folder] or any(os.path.exists(path) for path in self.find(name))

    def problems(self, file: Path) -> list[Failure]:
        """What was in several folders."""
        if not self._ambiguous:
            return []
        names = ", ".join(f"{one_line(name)} is in {' and '.join(map(one_line, folders))}" for name, folders in self._named())
        more = ", ..." if len(self._ambiguous) > NAMED else ""
        shown = printable(file)
        sentence = (
            f"{shown}: {len(self._ambiguous)} names are in several folders, and what it says of them was left out "
            f"({names}{more}); name the file captions_FOLDER.json."
        )
        return [Failure(f"{shown} (folders)", "bad_annotations", sentence)]

    def _named(self) -> list[tuple[str, list[str]]]:
        return list(self._ambiguous.items())[:NAMED]


def _of_split(folder: Path, split: str) -> list[Path]:
    """The sub-folders that a split is named after: val2017 of "val2017" and of "val2017_zh", the longest name first."""
    found = [path for path in _folders_in(folder) if _is_named_after(split, path.name)]
    return sorted(found, key=lambda path: -len(path.name))


def _is_named_after(split: str, folder: str) -> bool:
    return split == folder or (split.startswith(folder) and not split[len(folder)].isalnum())


def _image_folders(root: Path) -> list[Path]:
    """All folders that may hold images; the usual ones first."""
    others = [path for path in _folders_in(root) if path.name != "annotations"]
    nested = _folders_in(root / "images")
    usual = [path for path in (root / "images", root) if path.is_dir()]
    return list(dict.fromkeys([*usual, *others, *nested]))


def _folders_in(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError:
        return []


def _joined(folder: Path, name: str) -> Path:
    return Path(os.path.abspath(folder / name))
