"""A COCO layout: annotations/captions_*.json beside folders of images."""

from __future__ import annotations

import json
import os
from pathlib import Path

from indexer.errors import BadAnnotations, EmptySource
from indexer.items import Failure, SourceItem, captions_from, merged, printable
from indexer.sources.base import Source
from indexer.sources.coco_file import CocoFile

ANNOTATIONS = "annotations/captions_*.json"
KEPT = ("license", "flickr_url", "coco_url", "date_captured")


class CocoSource(Source):
    """All annotation files together; a photo that several of them describe gets the captions of all."""

    format = "coco"

    def __init__(self, root: Path):
        """Reads and checks all annotation files. One that can't be read is a problem where others can. Raises
        BadAnnotations or EmptySource."""
        items, problems, refusals, hides = [], [], [], False
        for path in sorted(root.glob(ANNOTATIONS)):
            try:
                file = CocoFile(path)
            except BadAnnotations as error:
                refusals.append(error)
                continue
            items += _items(root, file)
            problems += file.problems()
            hides |= file.hides_photos
        if not items and refusals:
            raise refusals[0]
        if not items and problems:
            raise BadAnnotations(root / "annotations", f"no usable photo in them ({problems[0].sentence.rstrip('.')})")
        if not items:
            raise EmptySource(root, "annotations/captions_*.json with image records")
        problems += [Failure(printable(refusal.path), "bad_annotations", refusal.sentence) for refusal in refusals]
        super().__init__(root, merged(items), problems, [""] if hides or refusals else [])


def is_annotations(path: Path) -> bool:
    """Whether it is an annotation file, which holds one object, and not a manifest: told by its name or else its keys."""
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
    """What someone who named an annotation file can do."""
    if annotations.match(ANNOTATIONS):
        return f"name the COCO folder {annotations.parent.parent}"
    return f"name the folder of its photos, with the captions in {ANNOTATIONS}, or give it with --captions"


def _items(root: Path, file: CocoFile) -> list[SourceItem]:
    folders = _image_folders(root, file.path.stem.removeprefix("captions_"))
    return [_item(folders, image, captions_from(file.take(image["id"]), file.name)) for image in file.images]


def _item(folders: list[Path], image: dict, captions: list) -> SourceItem:
    metadata = {"coco_id": image["id"], **{key: image[key] for key in KEPT if key in image}}
    return SourceItem(_find(folders, image["file_name"]), captions, metadata)


def _image_folders(root: Path, split: str) -> list[Path]:
    """Where images of a split such as "val2017" may be, likeliest first; only folders that exist, or the likeliest."""
    candidates = [root / split, root / "images" / split, root / "images", root]
    others = sorted(path for path in root.iterdir() if path.is_dir() and path.name != "annotations")
    existing = [folder for folder in [*candidates, *others] if folder.is_dir()]
    return list(dict.fromkeys(existing if existing != [root] else candidates))


def _find(folders: list[Path], name: str) -> Path:
    """The photo's absolute path; in the likeliest folder when it is in none."""
    paths = [Path(os.path.abspath(folder / name)) for folder in folders]
    return next((path for path in paths if os.path.exists(path)), paths[0])
