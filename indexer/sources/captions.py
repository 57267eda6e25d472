"""Captions from a file of their own, such as Chinese ones for COCO, added to the photos of any source."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from indexer.errors import BadAnnotations
from indexer.items import SourceCaption, SourceItem, captions_from
from indexer.sources.base import Source
from indexer.sources.coco_file import CocoFile

COCO_NAME = re.compile(r"(?:COCO_\w+_)?0*(\d+)")


def with_captions(source: Source, path: Path, language: str | None = None) -> Source:
    """The source with the captions of a file in COCO's layout added to its own.

    The file has a record of an image, which names the image file. The photo is found by that name, or by COCO's number in
    it (`COCO_val2014_000000000042.jpg` is 000000000042.jpg of 2017). An image id without a record is COCO's number.
    Captions of unknown images are counted in `problems`.

    Args:
        source: the source that has the photos.
        path: the file of captions.
        language: the captions' language; None detects it by script.

    Raises:
        BadAnnotations: the file can't be used, or none of its captions belongs to a photo of the source.
    """
    file, finder = CocoFile(path), _PhotoFinder(source)
    names = {image["id"]: image["file_name"] for image in file.images}
    added: dict[int, list[SourceCaption]] = defaultdict(list)
    for image_id in file.image_ids:
        position = finder.find(names.get(image_id, image_id))
        if position is not None:
            added[position] += captions_from(file.take(image_id), file.name, language)
    if not added:
        raise BadAnnotations(path, f"none of its captions is of a photo in {source.root}")
    items = (_with_captions(item, added.get(position, [])) for position, item in enumerate(source))
    return source.with_items(items, file.problems())


class _PhotoFinder:
    """Finds the position of a photo in a source by the name or number that a captions file gives it."""

    def __init__(self, items: Iterable[SourceItem]):
        self._positions: dict[object, int | None] = {}  # None: the name belongs to several photos
        for position, item in enumerate(items):
            name = Path(item.member or item.uri).name
            for key in {name, Path(name).stem, item.metadata.get("coco_id")} - {None}:
                self._positions[key] = None if self._positions.get(key, position) != position else position

    def find(self, image: int | str) -> int | None:
        """The photo's position; None if there is no such photo, or more than one."""
        if isinstance(image, int):
            return self._positions.get(image)
        name = Path(image).name
        for key in (name, Path(name).stem):
            if key in self._positions:
                return self._positions[key]
        number = COCO_NAME.fullmatch(Path(name).stem)
        return self._positions.get(int(number[1])) if number else None


def _with_captions(item: SourceItem, captions: list[SourceCaption]) -> SourceItem:
    known = {(caption.language, caption.text) for caption in item.captions}
    new = dict.fromkeys(caption for caption in captions if (caption.language, caption.text) not in known)
    return replace(item, captions=[*item.captions, *new]) if new else item
