"""Whether all of a HEIF photo is there. A phone writes a grid of tiles, and the decoder leaves out those that are cut off."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import BinaryIO

from encoder.inputs.container_parts import boxes, read_at

MOST_ITEMS = 10_000
_IN_FILE = 0


def is_cut_short(file: BinaryIO) -> bool:
    """True if a picture that the photo is made of ends beyond the file. What is no part of the photo may be cut off."""
    end = file.seek(0, io.SEEK_END)
    parts = {
        inner: (start, after)
        for kind, first, last in boxes(file, 0, end)
        if kind == b"meta"
        for inner, start, after in boxes(file, first + 4, last)
    }
    if b"pitm" not in parts or b"iloc" not in parts:
        return False
    needed = _made_of(_primary(file, *parts[b"pitm"]), _derived(file, *parts.get(b"iref", (0, 0))))
    return any(item in needed and after > end for item, after in _ends(read_at(file, *_span(parts[b"iloc"]))))


def _span(part: tuple[int, int]) -> tuple[int, int]:
    return part[0], part[1] - part[0]


def _primary(file: BinaryIO, start: int, end: int) -> int:
    """The number of the item that is the photo."""
    content = read_at(file, start, end - start)
    return int.from_bytes(content[4 : 8 if content[:1] > b"\0" else 6], "big")


def _derived(file: BinaryIO, start: int, end: int) -> dict[int, list[int]]:
    """The items that each derived item is made of."""
    if not end:
        return {}
    width = 4 if read_at(file, start, 1) > b"\0" else 2
    derived = {}
    for kind, first, last in boxes(file, start + 4, end):
        if kind == b"dimg":
            content = read_at(file, first, last - first)
            numbers = [int.from_bytes(content[at : at + width], "big") for at in range(width + 2, len(content), width)]
            derived[int.from_bytes(content[:width], "big")] = numbers
    return derived


def _made_of(item: int, derived: dict[int, list[int]]) -> set[int]:
    """An item and all that it is made of."""
    found, waiting = {item}, [item]
    while waiting:
        new = [part for part in derived.get(waiting.pop(), []) if part not in found]
        found.update(new)
        waiting += new
    return found


def _ends(iloc: bytes) -> Iterator[tuple[int, int]]:
    """The items that lie in the file itself: (number, offset of the end of a part) of each of their parts."""
    version = iloc[0] if iloc else 0
    content = io.BytesIO(iloc[4:])

    def number(size: int) -> int:
        return int.from_bytes(content.read(size), "big")

    sizes = number(2)
    offset_size, length_size, base_size = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15
    index_size = sizes & 15 if version in (1, 2) else 0
    id_size = 4 if version == 2 else 2
    for _ in range(min(number(id_size), MOST_ITEMS)):
        item = number(id_size)
        place = number(2) & 15 if version in (1, 2) else _IN_FILE
        in_this_file = number(2) == 0
        base = number(base_size)
        for _ in range(min(number(2), MOST_ITEMS)):
            number(index_size)
            start, length = base + number(offset_size), number(length_size)
            if place == _IN_FILE and in_this_file:
                yield item, start + length
