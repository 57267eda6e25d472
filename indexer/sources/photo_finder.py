"""Finds a source's photo by what a file of captions calls it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from encoder.inputs.image_formats import PHOTO_ENDINGS
from indexer.items import SourceItem, printable
from indexer.sources.text_pairing import folded
from indexer.text_index import TextIndex

COCO_NAME = re.compile(r"(?:COCO_\w+_)?0*(\d+)")
ITEMS_AT_ONCE = 4096
NO_ENDING = 5


class Match(NamedTuple):
    """The photo that a name means.

    Attributes:
        position: its position in the source; None if there is no such photo, or more than one.
        is_exact: True if the name says all that it can: no other name can mean this photo better.
        is_ambiguous: True if several photos are meant.
    """

    position: int | None = None
    is_exact: bool = False
    is_ambiguous: bool = False


class PhotoFinder:
    """The names and COCO numbers of a source's photos, in some hundred bytes each."""

    def __init__(self, items: Iterable[SourceItem]):
        self._paths, self._stems, self._ids = TextIndex(), TextIndex(), TextIndex()
        part: list[tuple[str, str]] = []
        for item in items:
            coco_id = item.metadata.get("coco_id")
            part.append((_path_of(item), "" if coco_id is None else repr(coco_id)))
            if len(part) == ITEMS_AT_ONCE:
                self._add(part)
                part = []
        self._add(part)

    def find(self, name: int | str, folder: str = "") -> Match:
        """The photo that a file of captions means.

        Args:
            name: COCO's number of the photo, or its path or name, with or without its ending.
            folder: the folder that paths are relative to.
        """
        if isinstance(name, int):
            return _only(self._all(self._ids, repr(name)), is_exact=True)
        found = self._by_name(name, folder)
        if found.position is None and not found.is_ambiguous and "\\" in name:
            found = self._by_name(name.replace("\\", "/"), folder)
        if found.position is not None or found.is_ambiguous:
            return found
        number = COCO_NAME.fullmatch(os.path.splitext(os.path.basename(name))[0])
        return _only(self._all(self._ids, repr(int(number[1])))) if number and len(number[1]) < 19 else Match()

    def _by_name(self, name: str, folder: str) -> Match:
        base = os.path.basename(name)
        stem, ending = os.path.splitext(base)
        stems = {folded(base), folded(stem)} if ending.lower() in PHOTO_ENDINGS else {folded(base)}
        candidates = [position for one in stems for position in self._all(self._stems, one)]
        ranked = [(_rank(name, folder, self._paths[position]), position) for position in candidates]
        best = min((rank for rank, _ in ranked), default=None)
        if best is None:
            return Match()
        is_exact = best < 3 or (best == 3 and base == name)
        return _only([position for rank, position in ranked if rank == best], is_exact)

    def _add(self, part: list[tuple[str, str]]) -> None:
        if part:
            self._paths.add([path for path, _ in part])
            self._stems.add([folded(os.path.splitext(os.path.basename(path))[0]) for path, _ in part])
            self._ids.add([coco_id for _, coco_id in part])

    def _all(self, index: TextIndex, text: str) -> Iterator[int]:
        position = index.find_last(text)
        while position is not None:
            yield position
            position = index.find_last(text, position)


def _path_of(item: SourceItem) -> str:
    """Where a photo is, as a path of text; of one in a Parquet file, what its row calls it."""
    inside = item.metadata.get("file_name") if item.member is not None and str(item.uri).endswith(".parquet") else None
    if isinstance(inside, str):
        return printable(inside)
    return _text(str(item.uri) if item.member is None else f"{item.uri}/{item.member}")


def _text(path: str) -> str:
    return os.fsencode(path).decode("utf-8", "replace")


def _rank(name: str, folder: str, path: str) -> int:
    """How well a name fits a path; 0 is best."""
    base, own = os.path.basename(name), os.path.basename(path)
    given = os.path.normpath(name).lstrip("./") if "/" in name else ""
    if os.path.normpath(os.path.join(folder, name)) == path:
        return 0
    if given and path.endswith("/" + given):
        return 1
    if given and folded(path).endswith("/" + folded(given)):
        return 2
    if base == own:
        return 3
    if folded(base) == folded(own):
        return 4
    return NO_ENDING if os.path.splitext(own)[0] in (base, os.path.splitext(base)[0]) else NO_ENDING + 1


def _only(positions: Iterable[int], is_exact: bool = False) -> Match:
    found = list(dict.fromkeys(positions))
    return Match(found[0], is_exact) if len(found) == 1 else Match(is_ambiguous=bool(found))
