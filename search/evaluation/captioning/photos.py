"""The photos of a source, found by the names that files of captions call them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

_NUMBER = re.compile(r"[0-9]+$")


class Caption(Protocol):
    """One sentence of a person about a photo."""

    @property
    def language(self) -> str: ...

    @property
    def text(self) -> str: ...


class Photo(Protocol):
    """A photo of a source with the captions that people wrote; `indexer.items.SourceItem` is one."""

    @property
    def uri(self) -> Path: ...

    @property
    def member(self) -> str | None: ...

    @property
    def captions(self) -> Sequence[Caption]: ...

    @property
    def metadata(self) -> dict[str, Any]: ...


class PhotoNames:
    """Finds photos by name.

    A photo is called by its path, absolute or below the source's folder, by its file's name with or without ending, by its id
    in COCO, or by the number at its name's end (COCO's results say 391895 for COCO_val2014_000000391895.jpg). The first of
    these that fits counts; what fits several photos names none.
    """

    def __init__(self, photos: Iterable[Photo], root: Path) -> None:
        folder = root if root.is_dir() else root.parent
        self._positions: dict[tuple[str, str], set[int]] = defaultdict(set)
        for position, photo in enumerate(photos):
            for name in _names_of(photo, folder):
                self._positions[name].add(position)

    def find(self, name: str | int) -> int | None:
        """The position of the photo that is called so, or None if there is none or several."""
        for kind in _KINDS:
            found = self._positions.get((kind, _plain(name) if kind in _NUMBERS else str(name)))
            if found:
                return next(iter(found)) if len(found) == 1 else None
        return None


_KINDS = "path", "path below", "file", "stem", "id", "number"
_NUMBERS = "id", "number"


def _names_of(photo: Photo, folder: Path) -> Iterator[tuple[str, str]]:
    path = Path(photo.member) if photo.member is not None else photo.uri
    yield "path", str(path)
    if path.is_relative_to(folder):
        yield "path below", path.relative_to(folder).as_posix()
    yield "file", path.name
    yield "stem", path.stem
    if "coco_id" in photo.metadata:
        yield "id", _plain(photo.metadata["coco_id"])
    if number := _NUMBER.search(path.stem):
        yield "number", _plain(number.group())


def _plain(number: str | int) -> str:
    """A number as it is compared: without leading zeros."""
    text = str(number)
    return text.lstrip("0") or "0" if text.isascii() and text.isdigit() else text
