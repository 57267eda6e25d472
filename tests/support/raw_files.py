"""Raw files of cameras, written by hand: as much of them as LibRaw wants to see."""

from __future__ import annotations

import io
import struct

import numpy as np
from PIL import Image

SHORT, LONG, BYTE, ASCII, RATIONAL, SIGNED = 3, 4, 1, 2, 5, 10
_SIZES = {SHORT: "H", LONG: "I", BYTE: "B", ASCII: "B", RATIONAL: "II", SIGNED: "ii"}

Tag = tuple[int, int, list[int]]


def dng(preview: Image.Image | None, width: int = 640, height: int = 480, orientation: int = 1, make: str = "ACME") -> bytes:
    """A DNG of a grey sensor, with a preview.

    Args:
        preview: becomes its preview, a JPEG; None: it has none.
        width: of the sensor in pixels.
        height: of the sensor in pixels.
        orientation: EXIF's number for how it is turned.
        make: of the camera.
    """
    sensor = np.full((height, width), 3000, "<u2").tobytes()
    jpeg = b""
    if preview is not None:
        stream = io.BytesIO()
        preview.save(stream, "JPEG", quality=95)
        jpeg = stream.getvalue()
    matrix = [number for row in range(9) for number in (int(row % 4 == 0), 1)]
    main: list[Tag] = [
        (254, LONG, [0]), (256, LONG, [width]), (257, LONG, [height]), (258, SHORT, [16]), (259, SHORT, [1]),
        (262, SHORT, [32803]), (271, ASCII, [*make.encode(), 0]), (272, ASCII, [*b"Model 1", 0]), (273, LONG, [0]),
        (274, SHORT, [orientation]), (277, SHORT, [1]), (278, LONG, [height]), (279, LONG, [len(sensor)]),
        (284, SHORT, [1]), (330, LONG, [0]), (33421, SHORT, [2, 2]), (33422, BYTE, [0, 1, 1, 2]), (50706, BYTE, [1, 4, 0, 0]),
        (50707, BYTE, [1, 1, 0, 0]), (50708, ASCII, [*make.encode(), *b" Model 1", 0]), (50717, LONG, [4095]),
        (50721, SIGNED, matrix),
        (50728, RATIONAL, [1, 1] * 3), (50778, SHORT, [21]),
    ]  # fmt: skip
    small: list[Tag] = []
    if preview is not None:
        small = [
            (254, LONG, [1]), (256, LONG, [preview.width]), (257, LONG, [preview.height]), (258, SHORT, [8] * 3),
            (259, SHORT, [7]), (262, SHORT, [6]), (273, LONG, [0]), (277, SHORT, [3]), (278, LONG, [preview.height]),
            (279, LONG, [len(jpeg)]), (284, SHORT, [1]),
        ]  # fmt: skip
    else:
        main = [tag for tag in main if tag[0] != 330]
    first = 8
    second = first + len(_directory(main, first, {}))
    data = second + (len(_directory(small, second, {})) if small else 0)
    out = struct.pack("<2sHI", b"II", 42, first) + _directory(main, first, {273: data, 330: second})
    if small:
        out += _directory(small, second, {273: data + len(sensor)})
    return out + sensor + jpeg


def _directory(tags: list[Tag], at: int, places: dict[int, int]) -> bytes:
    """A directory that stands at an offset; `places` are the values of tags that say where something is."""
    entries, beside = b"", b""
    start = at + 2 + 12 * len(tags) + 4
    for tag, kind, values in tags:
        values = [places.get(tag, 0)] if tag in (273, 330) else values
        packed = struct.pack("<" + _SIZES[kind][0] * len(values), *values)
        count = len(values) // len(_SIZES[kind])
        if len(packed) > 4:
            entries += struct.pack("<HHII", tag, kind, count, start + len(beside))
            beside += packed + bytes(len(packed) % 2)
        else:
            entries += struct.pack("<HHI", tag, kind, count) + packed.ljust(4, b"\0")
    return struct.pack("<H", len(tags)) + entries + bytes(4) + beside
