"""JPEGs that can't be decoded: those that lack only their end mark are whole, and some are of a rare kind."""

from __future__ import annotations

import io
import random
from typing import BinaryIO

from PIL import Image, ImageChops

from encoder.inputs.container_parts import jpeg_segments, read_at
from encoder.inputs.limits import Unsupported

END_MARK = b"\xff\xd9"
PROGRESSIVE, SCAN = 0xC2, 0xDA
FRAMES, LOSSLESS = (0xC0, 0xC1, 0xC2, 0xC9, 0xCA), (0xC3, 0xC5, 0xC6, 0xC7, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7)
"""The markers that begin a frame; of the latter no decoder of photos reads any."""
_FILLER = bytes(random.Random(0).choices(range(1, 255), k=512))


def with_end_mark(file: BinaryIO, at_least: int | None) -> Image.Image:
    """Decode a JPEG whose end mark is missing.

    A decoder fills pixels that are missing with grey. So the end is completed in two ways: pixels that depend on what stands
    there are missing.

    Args:
        file: the file.
        at_least: as `pixels.decode` takes it.

    Raises:
        OSError: pixels are missing.
    """
    file.seek(0)
    content = file.read().rstrip(b"\xff")
    image, other = (_decoded(content + filler + END_MARK) for filler in (b"", _FILLER))
    if ImageChops.difference(image, other).getbbox() is not None or not _has_all_scans(content):
        raise OSError("image file is truncated")
    return _decoded(content + END_MARK, at_least) if at_least else image


def check_kind(file: BinaryIO) -> None:
    """Check that a JPEG is of a kind that is read.

    Raises:
        Unsupported: it has not 8 bits in a sample, or is lossless.
    """
    for at, marker, _ in jpeg_segments(file):
        if marker in LOSSLESS:
            raise Unsupported("is a lossless JPEG")
        if marker in FRAMES and (bits := read_at(file, at + 4, 1)) != b"\x08":
            raise Unsupported(f"is a JPEG of {int.from_bytes(bits, 'big')} bits")


def _decoded(content: bytes, at_least: int | None = None) -> Image.Image:
    image = Image.open(io.BytesIO(content), formats=["JPEG"])
    if at_least:
        image.draft("RGB", (at_least, at_least))
    image.load()
    return image


def _has_all_scans(content: bytes) -> bool:
    """Does a progressive JPEG have every bit of every coefficient? Any other one has one scan, or shows what is missing."""
    frame = next((at for at, marker, _ in jpeg_segments(io.BytesIO(content)) if marker == PROGRESSIVE), None)
    if frame is None:
        return True
    count = content[frame + 9]
    missing = {(content[frame + 10 + 3 * number], frequency) for number in range(count) for frequency in range(64)}
    at = content.find(bytes((0xFF, SCAN)), frame)
    while at != -1:
        number = content[at + 4]
        names = content[at + 5 : at + 5 + 2 * number : 2]
        first, last, bits = content[at + 5 + 2 * number : at + 8 + 2 * number]
        if not bits & 15:
            missing -= {(name, frequency) for name in names for frequency in range(first, last + 1)}
        at = content.find(bytes((0xFF, SCAN)), at + 2)
    return not missing
