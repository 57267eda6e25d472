"""A COCO layout: annotations/captions_*.json beside folders of images."""

import json
import os
from collections import defaultdict
from pathlib import Path

from indexer.errors import BadAnnotations, EmptySource
from indexer.items import SourceItem, captions_from, merged, strict_json
from indexer.sources.base import Source

ANNOTATIONS = "annotations/captions_*.json"
KEPT = ("license", "flickr_url", "coco_url", "date_captured")


class CocoSource(Source):
    """All annotation files together; a photo that several of them describe gets the captions of all."""

    format = "coco"

    def __init__(self, root: Path):
        """Reads and checks all annotation files. Raises BadAnnotations or EmptySource."""
        items = [item for path in sorted(root.glob(ANNOTATIONS)) for item in _read(root, path)]
        if not items:
            raise EmptySource(root, "annotations/captions_*.json with image records")
        super().__init__(root, merged(items))


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
    return f"name the folder of its photos, with the captions in {ANNOTATIONS}"


def _read(root: Path, path: Path) -> list[SourceItem]:
    """The photos of one annotation file, in its order. Raises BadAnnotations."""
    try:
        content = strict_json(path.read_bytes())
    except OSError as error:
        raise BadAnnotations(path, f"can't be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise BadAnnotations(path, f"not JSON ({error})") from error
    try:
        return _items(root, path, content)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise BadAnnotations(path, f"not COCO captions ({type(error).__name__}: {error})") from error


def _items(root: Path, path: Path, content: dict) -> list[SourceItem]:
    texts = defaultdict(list)
    for annotation in content["annotations"]:
        annotation["caption"].encode("utf-8")  # a caption that isn't text, or is half a surrogate pair, ends here
        texts[annotation["image_id"]].append(annotation["caption"])
    folders = _image_folders(root, path.stem.removeprefix("captions_"))
    return [_item(folders, image, captions_from(texts[image["id"]], path.name)) for image in content["images"]]


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
