"""HEIC files as iPhones write them: a grid of tiles, each encoded by itself (ISO 23008-12, the derived image `grid`)."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence

from encoder.inputs.container_parts import boxes

GRID_ID = 100
VERTICAL = 3
"""How many quarter turns, against the clock, show a photo upright that was taken with the phone held upright."""


def grid_of(tiles: Sequence[bytes], columns: int, size: tuple[int, int], quarter_turns: int = 0) -> bytes:
    """One HEIC made of several.

    Args:
        tiles: HEIC files of one coded size, whose encoded pictures become the tiles, row by row.
        columns: how many tiles are in a row.
        size: the (width, height) of the photo, at most that of all tiles; what is beyond it is not shown.
        quarter_turns: by how many quarters it is to be turned, against the clock.
    """
    parts = [_picture(tile) for tile in tiles]
    ids = range(1, len(tiles) + 1)
    properties = [part[0] for part in parts] + [parts[0][1], _box(b"ispe", struct.pack(">III", 0, *size))]
    tile_size, grid_size = len(parts) + 1, len(parts) + 2
    grid_properties = [grid_size]
    if quarter_turns:
        properties.append(_box(b"irot", bytes([quarter_turns])))
        grid_properties.append(0x80 | len(properties))
    associations = [(number, [0x80 | number, tile_size]) for number in ids] + [(GRID_ID, grid_properties)]
    grid = struct.pack(">BBBBHH", 0, 0, len(tiles) // columns - 1, columns - 1, *size)
    pictures = [part[2] for part in parts]

    def meta(first_tile: int) -> bytes:
        return _box(
            b"meta",
            bytes(4)
            + _box(b"hdlr", bytes(8) + b"pict" + bytes(13))
            + _box(b"pitm", struct.pack(">IH", 0, GRID_ID))
            + _places(pictures, first_tile, len(grid))
            + _box(b"iinf", struct.pack(">IH", 0, len(tiles) + 1) + _kinds([*((i, b"hvc1") for i in ids), (GRID_ID, b"grid")]))
            + _box(b"iref", bytes(4) + _box(b"dimg", struct.pack(f">HH{len(tiles)}H", GRID_ID, len(tiles), *ids)))
            + _box(b"iprp", _box(b"ipco", b"".join(properties)) + _box(b"ipma", _associated(associations)))
            + _box(b"idat", grid),
        )

    head = _box(b"ftyp", b"heic" + bytes(4) + b"mif1heic")
    start = len(head) + len(meta(0)) + 8
    return head + meta(start) + _box(b"mdat", b"".join(pictures))


def _picture(heic: bytes) -> tuple[bytes, bytes, bytes]:
    """The boxes `hvcC` and `ispe` of a file's picture, and its encoded bytes. It is the file's first item."""
    file, found = io.BytesIO(heic), dict[bytes, tuple[int, int]]()
    waiting = [(0, len(heic))]
    while waiting:
        for kind, start, end in boxes(file, *waiting.pop()):
            found.setdefault(kind, (start, end))
            if kind in (b"meta", b"iprp", b"ipco"):
                waiting.append((start + (4 if kind == b"meta" else 0), end))
    hvcc, ispe = (_box(kind, heic[slice(*found[kind])]) for kind in (b"hvcC", b"ispe"))
    place = found[b"iloc"][0] + 8
    item, _, base, extents, offset, size = struct.unpack_from(">HHIHII", heic, place)
    assert (item, extents) == (1, 1), "written with version 0 of iloc, and one extent an item"
    return hvcc, ispe, heic[base + offset : base + offset + size]


def _places(pictures: Sequence[bytes], first: int, grid_bytes: int) -> bytes:
    """`iloc`: the tiles one after another in the file, the grid's description in `idat`."""
    entries, at = b"", first
    for number, picture in enumerate(pictures, 1):
        entries += struct.pack(">HHHHII", number, 0, 0, 1, at, len(picture))
        at += len(picture)
    entries += struct.pack(">HHHHII", GRID_ID, 1, 0, 1, 0, grid_bytes)
    return _box(b"iloc", struct.pack(">IBBH", 1 << 24, 0x44, 0, len(pictures) + 1) + entries)


def _kinds(items: Sequence[tuple[int, bytes]]) -> bytes:
    """`infe` of each item; the tiles are hidden, as they are no photos of their own."""
    return b"".join(_box(b"infe", struct.pack(">IHH", 2 << 24 | (kind != b"grid"), i, 0) + kind + b"\0") for i, kind in items)


def _associated(items: Sequence[tuple[int, list[int]]]) -> bytes:
    return struct.pack(">II", 0, len(items)) + b"".join(
        struct.pack(">HB", number, len(own)) + bytes(own) for number, own in items
    )


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content) + 8) + kind + content
