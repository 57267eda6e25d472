"""The parts of which image files are made, one after another: where each is, and what it calls itself. Nothing is decoded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

MOST_BOXES = 10_000
_SEGMENTS = {*range(0xC0, 0xD0), *range(0xDB, 0xFF)}
"""The markers that a length follows, but for the one that begins the pixels."""


def read_at(file: BinaryIO, offset: int, size: int) -> bytes:
    """The bytes at an offset; fewer where the file ends."""
    file.seek(offset)
    return file.read(size)


def jpeg_segments(file: BinaryIO) -> Iterator[tuple[int, int, int]]:
    """The segments of a JPEG up to its pixels: (offset, marker, size with the marker in bytes) of each."""
    at = 2
    while len(head := read_at(file, at, 4)) == 4 and head[0] == 0xFF and head[1] in _SEGMENTS:
        size = 2 + int.from_bytes(head[2:], "big")
        yield at, head[1], size
        at += size


def png_chunks(file: BinaryIO) -> Iterator[tuple[int, bytes, int]]:
    """The chunks of a PNG: (offset, type, size of the content, which begins 8 bytes after the offset) of each."""
    at = 8
    while len(head := read_at(file, at, 8)) == 8:
        size = int.from_bytes(head[:4], "big")
        yield at, head[4:], size
        if head[4:] == b"IEND":
            break
        at += size + 12


def webp_chunks(file: BinaryIO) -> Iterator[tuple[int, bytes, int]]:
    """The chunks of a WebP: (offset, type, size of the content in bytes) of each. The last may be cut short."""
    at = 12
    while len(head := read_at(file, at, 8)) == 8:
        size = int.from_bytes(head[4:], "little")
        yield at, head[:4], size
        at += 8 + size + size % 2


def boxes(file: BinaryIO, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """The boxes of an ISO base media file between two offsets: (type, where its content begins, where it ends) of each."""
    for _ in range(MOST_BOXES):
        head = read_at(file, at, 16)
        if len(head) < 8 or at >= end:
            return
        size, start = int.from_bytes(head[:4], "big"), 8
        if size == 1:
            size, start = int.from_bytes(head[8:], "big"), 16
        after = at + size if size else end
        if after < at + start or after > end:
            return
        yield head[4:8], at + start, after
        at = after


def heif_items(file: BinaryIO, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The items that a HEIF's `meta` box, whose content lies between two offsets, describes: (id, where its type stands)."""
    for kind, first, last in boxes(file, start + 4, end):
        if kind != b"iinf":
            continue
        wide = read_at(file, first, 1) > b"\0"
        for _, at, _ in boxes(file, first + (8 if wide else 6), last):
            id_bytes = 4 if read_at(file, at, 1) > b"\2" else 2
            yield int.from_bytes(read_at(file, at + 4, id_bytes), "big"), at + 6 + id_bytes
