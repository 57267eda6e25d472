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
    """The source, its photos with the captions of a file in COCO's layout beside their own.

    A photo is found by the file's own record of it, which names its image file: by that name, or by COCO's number in it
    (`COCO_val2014_000000000042.jpg` is 000000000042.jpg of 2017). An image id without a record is COCO's number. Captions
    of unknown images are counted in `problems`. `language` is told by script where it isn't given. Raises BadAnnotations.
    """
    file, finder = CocoFile(path), _Finder(source)
    names = {image["id"]: image["file_name"] for image in file.images}
    added: dict[int, list[SourceCaption]] = defaultdict(list)
    for image_id in file.image_ids:
        place = finder.find(names.get(image_id, image_id))
        if place is not None:
            added[place] += captions_from(file.take(image_id), file.name, language)
    if not added:
        raise BadAnnotations(path, f"none of its captions is of a photo in {source.root}")
    return source.changed((_plus(item, added.get(place, [])) for place, item in enumerate(source)), file.problems())


class _Finder:
    """From what a captions file calls an image to its place among photos."""

    def __init__(self, items: Iterable[SourceItem]):
        self._places: dict[object, int | None] = {}
        for place, item in enumerate(items):
            name = Path(item.member or item.uri).name
            for key in {name, Path(name).stem, item.metadata.get("coco_id")} - {None}:
                self._places[key] = None if self._places.get(key, place) != place else place

    def find(self, image: int | str) -> int | None:
        """The photo's place; None where there is none, or more than one."""
        if isinstance(image, int):
            return self._places.get(image)
        name = Path(image).name
        for key in (name, Path(name).stem):
            if key in self._places:
                return self._places[key]
        number = COCO_NAME.fullmatch(Path(name).stem)
        return self._places.get(int(number[1])) if number else None


def _plus(item: SourceItem, captions: list[SourceCaption]) -> SourceItem:
    known = {(caption.language, caption.text) for caption in item.captions}
    new = dict.fromkeys(caption for caption in captions if (caption.language, caption.text) not in known)
    return replace(item, captions=[*item.captions, *new]) if new else item
