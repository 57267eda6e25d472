"""JPEGs that end too early: those that lack only their end mark are whole."""

from __future__ import annotations

import io
import random
from typing import BinaryIO

from PIL import Image

from encoder.inputs.containers import segments

END_MARK = b"\xff\xd9"
PROGRESSIVE, SCAN = 0xC2, 0xDA
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
    if image.tobytes() != other.tobytes() or not _has_all_scans(content):
        raise OSError("image file is truncated")
    return _decoded(content + END_MARK, at_least) if at_least else image


def _decoded(content: bytes, at_least: int | None = None) -> Image.Image:
    image = Image.open(io.BytesIO(content), formats=["JPEG"])
    if at_least:
        image.draft("RGB", (at_least, at_least))
    image.load()
    return image


def _has_all_scans(content: bytes) -> bool:
    """Does a progressive JPEG have every bit of every coefficient? Any other one has one scan, or shows what is missing."""
    frame = next((at for at, marker, _ in segments(io.BytesIO(content)) if marker == PROGRESSIVE), None)
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
