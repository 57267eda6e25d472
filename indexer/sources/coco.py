"""A COCO folder: annotations/captions_*.json beside folders of images."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from indexer.errors import BadAnnotations, EmptySource
from indexer.items import Failure, SourceCaption, SourceItem, captions_from, merge_items, printable
from indexer.sources.base import Source
from indexer.sources.coco_file import CocoFile

ANNOTATIONS = "annotations/captions_*.json"
KEPT = ("license", "flickr_url", "coco_url", "date_captured")


class CocoSource(Source):
    """The photos of all annotation files of a COCO folder; a photo in several files gets the captions of all."""

    format = "coco"

    def __init__(self, root: Path):
        """Read and check all annotation files. A file that can't be read is a problem if another one can.

        Raises:
            BadAnnotations: no file holds a usable photo.
            EmptySource: there is no record of an image.
        """
        items: list[SourceItem] = []
        problems: list[Failure] = []
        unreadable: list[BadAnnotations] = []
        incomplete = False
        for path in sorted(root.glob(ANNOTATIONS)):
            try:
                file = CocoFile(path)
            except BadAnnotations as error:
                unreadable.append(error)
                continue
            items += _items(root, file)
            problems += file.problems()
            incomplete |= file.has_bad_images
        if not items and unreadable:
            raise unreadable[0]
        if not items and problems:
            raise BadAnnotations(root / "annotations", f"no usable photo in them ({problems[0].sentence.rstrip('.')})")
        if not items:
            raise EmptySource(root, "annotations/captions_*.json with image records")
        problems += [Failure(printable(error.path), "bad_annotations", error.sentence) for error in unreadable]
        super().__init__(root, merge_items(items), problems, [""] if incomplete or unreadable else [])


def is_annotations(path: Path) -> bool:
    """True if a file is a COCO annotation file, by its name or else by its keys. A manifest is not: it has many objects."""
    if path.suffix.lower() != ".json" or not path.is_file():
        return False
    if path.match(ANNOTATIONS):
        return True
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and {"images", "annotations"} <= content.keys()


def remedy_for(annotations: Path) -> str:
    """What to do when an annotation file was given as a source, as the end of an error message."""
    if annotations.match(ANNOTATIONS):
        return f"name the COCO folder {annotations.parent.parent}"
    return f"name the folder of its photos, with the captions in {ANNOTATIONS}, or give it with --captions"


def _items(root: Path, file: CocoFile) -> list[SourceItem]:
    folders = _image_folders(root, file.path.stem.removeprefix("captions_"))
    return [_item(folders, image, captions_from(file.take(image["id"]), file.name)) for image in file.images]


def _item(folders: list[Path], image: dict[str, Any], captions: list[SourceCaption]) -> SourceItem:
    metadata = {"coco_id": image["id"], **{key: image[key] for key in KEPT if key in image}}
    return SourceItem(_find(folders, image["file_name"]), captions, metadata)


def _image_folders(root: Path, split: str) -> list[Path]:
    """The folders that may hold the images of a split such as "val2017", likeliest first.

    Only folders that exist; if none does, the usual ones.
    """
    candidates = [root / split, root / "images" / split, root / "images", root]
    others = sorted(path for path in root.iterdir() if path.is_dir() and path.name != "annotations")
    existing = [folder for folder in [*candidates, *others] if folder.is_dir()]
    return list(dict.fromkeys(existing if existing != [root] else candidates))


def _find(folders: list[Path], name: str) -> Path:
    """The photo's absolute path; in the likeliest folder if it is in none."""
    paths = [Path(os.path.abspath(folder / name)) for folder in folders]
    return next((path for path in paths if os.path.exists(path)), paths[0])
