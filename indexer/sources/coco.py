"""A COCO folder: annotations/captions_*.json, or Karpathy's dataset_*.json, beside folders of images."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from indexer.errors import BadAnnotations, EmptySource
from indexer.items import Failure, SourceCaption, SourceItem, merge_items, one_line, printable
from indexer.sources import unused
from indexer.sources.base import Source
from indexer.sources.coco_file import CocoFile, is_coco
from indexer.sources.image_folders import ImageFolders
from indexer.sources.record_files import is_karpathy, read_json_file, records_in
from indexer.sources.records import read_record, take_image
from indexer.sources.unused import Unused

ANNOTATIONS = "annotations/captions_*.json"
KARPATHY = "dataset*.json"
KARPATHY_SIGNS = b'"sentences"', b'"sentids"'
KEPT = ("license", "flickr_url", "coco_url", "date_captured")
SPLITS = "test", "val", "restval", "train"
"""The order of Karpathy's splits: benchmarks are about the first photos of a collection."""
HEAD_BYTES = 65_536


class CocoSource(Source):
    """The photos of all annotation files of a COCO folder; a photo in several files gets the captions of all.

    A file name that several folders have means the photo in the folder that the annotation file is named after; otherwise it
    is nobody's, and a problem.
    """

    format = "coco"

    def __init__(self, root: Path):
        """Read and check all annotation files. A file that can't be read is a problem if another one can.

        Args:
            root: the folder, or one of Karpathy's files.

        Raises:
            BadAnnotations: no file holds a usable photo.
            EmptySource: there is no record of an image.
        """
        folder = root.parent if root.is_file() else root
        files = [root] if root.is_file() else annotation_files(root)
        items: list[SourceItem] = []
        self.problems, self.unused = [], Unused()
        unreadable: list[BadAnnotations] = []
        self._incomplete = False
        for path in files:
            try:
                items += self._items(folder, path, [_split_of(other) for other in files])
            except BadAnnotations as error:
                unreadable.append(error)
        problems = self.problems
        if not items and unreadable:
            raise unreadable[0]
        if not items and problems:
            raise BadAnnotations(folder / "annotations", f"no usable photo in them ({problems[0].sentence.rstrip('.')})")
        if not items:
            raise EmptySource(root, "annotations/captions_*.json with image records")
        problems += [Failure(printable(error.path), "bad_annotations", error.sentence) for error in unreadable]
        hidden_prefixes = [""] if self._incomplete or unreadable else []
        super().__init__(root, merge_items(items), problems, hidden_prefixes, self.unused, files)

    def _items(self, folder: Path, path: Path, splits: list[str]) -> list[SourceItem]:
        content = read_json_file(path)
        folders = ImageFolders(folder, _split_of(path), splits)
        if is_karpathy(content):
            items = list(_karpathy_items(path, content, folders, self.problems, self.unused))
        else:
            file = CocoFile(path, content)
            items = [item for image in file.images for item in _coco_items(file, image, folders)]
            self.problems += file.problems()
            self._incomplete |= file.has_bad_images
        self.problems += folders.problems(path)
        return items


def annotation_files(root: Path) -> list[Path]:
    """The annotation files of a COCO folder, by name; Karpathy's, if there are no others."""
    usual = sorted(root.glob(ANNOTATIONS))
    return usual or sorted(path for path in root.glob(KARPATHY) if seems_karpathy(path))


def seems_karpathy(path: Path) -> bool:
    """True if a file begins as Karpathy's do."""
    try:
        with open(path, "rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError:
        return False
    return head.lstrip().startswith(b"{") and any(sign in head for sign in KARPATHY_SIGNS)


def is_annotations(path: Path) -> bool:
    """True if a file is a COCO annotation file, by its name or else by its keys. A manifest is not: it has many objects."""
    if path.suffix.lower() != ".json" or not path.is_file():
        return False
    if path.match(ANNOTATIONS):
        return True
    try:
        content = read_json_file(path)
    except BadAnnotations:
        return False
    return isinstance(content, dict) and "images" in content and is_coco(content)


def remedy_for(annotations: Path) -> str:
    """What to do when an annotation file was given as a source, as the end of an error message."""
    if annotations.match(ANNOTATIONS):
        return f"name the COCO folder {annotations.parent.parent}"
    return f"name the folder of its photos, with the captions in {ANNOTATIONS}, or give it with --captions"


def _split_of(path: Path) -> str:
    return path.stem.removeprefix("captions_")


def _coco_items(file: CocoFile, image: dict[str, Any], folders: ImageFolders) -> Iterator[SourceItem]:
    captions = file.captions_of(image["id"])
    file.take(image["id"])
    metadata = {"coco_id": image["id"], **{key: image[key] for key in KEPT if key in image}}
    yield from _at(folders.find(image["file_name"]), captions, metadata)


def _karpathy_items(
    path: Path, content: dict[str, Any], folders: ImageFolders, problems: list[Failure], left: Unused
) -> Iterator[SourceItem]:
    """The photos of Karpathy's file, the test split first. A split whose folder isn't there is left out and counted."""
    refused, first = 0, ""
    records = []
    for number, record in records_in(path, content).records:
        try:
            if isinstance(record, ValueError):
                raise record
            captions, metadata = read_record(record, printable(path.name))
            name = take_image(metadata)
            assert name is not None, "its record was made with one"
            records.append((name, captions, metadata))
        except (ValueError, RecursionError) as error:
            refused, first = refused + 1, first or f"number {number}: {one_line(str(error))}"
    if refused:
        shown = printable(path)
        sentence = f"{shown}: {refused} image records can't be used (the first is {first})."
        problems.append(Failure(f"{shown} (images)", "bad_annotations", sentence))
    for name, captions, metadata in sorted(records, key=lambda one: _split_order(one[2])):
        if not folders.has_folder_of(name):
            left.add(unused.NOT_THERE, name, f"photos of {printable(os.path.dirname(name))}")
            continue
        yield from _at(folders.find(name), captions, metadata)


def _at(paths: Sequence[Path], captions: list[SourceCaption], metadata: dict[str, Any]) -> Iterable[SourceItem]:
    """The item of a record, or those of all photos that it may mean, which then say nothing of it."""
    if len(paths) == 1:
        return [SourceItem(paths[0], captions, metadata)]
    return [SourceItem(path) for path in paths]


def _split_order(metadata: dict[str, Any]) -> int:
    split = metadata.get("split")
    return SPLITS.index(split) if split in SPLITS else len(SPLITS)
