"""JPEG XL: its size is read here, its pixels by libjxl."""

from __future__ import annotations

import numpy as np
from PIL import Image

from encoder.inputs.samples import Samples, to_picture

_RATIOS = (None, (1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
_LENGTHS = (9, 13, 18, 30)


def size_of(content: bytes) -> tuple[int, int]:
    """The (width, height) of a JPEG XL file as it is stored, in pixels (ISO 18181-1, annex D.3).

    Raises:
        ValueError: it has no header.
    """
    bits = _Bits(_codestream(content)[2:12])
    small = bits.take(1)
    height = _side(bits, small)
    ratio = _RATIOS[bits.take(3)]
    width = _side(bits, small) if ratio is None else height * ratio[0] // ratio[1]
    return width, height


def decode(content: bytes) -> Image.Image:
    """Decode the first picture, upright."""
    import imagecodecs

    values = imagecodecs.jpegxl_decode(content, index=0, numthreads=1)
    if values.ndim == 2:
        values = values[..., None]
    return to_picture(Samples(values, white=1.0 if values.dtype.kind == "f" else float(np.iinfo(values.dtype).max)))


def _side(bits: _Bits, small: int) -> int:
    return 8 * (bits.take(5) + 1) if small else 1 + bits.take(_LENGTHS[bits.take(2)])


def _codestream(content: bytes) -> bytes:
    """The first bytes of the pixels' own stream, which may lie in boxes."""
    if content.startswith(b"\xff\x0a"):
        return content[:64]
    at = 0
    while at + 8 <= len(content):
        size, kind = int.from_bytes(content[at : at + 4], "big"), content[at + 4 : at + 8]
        head = 8
        if size == 1:
            size, head = int.from_bytes(content[at + 8 : at + 16], "big"), 16
        if kind in (b"jxlc", b"jxlp"):
            start = at + head + (4 if kind == b"jxlp" else 0)
            return content[start : start + 64]
        if size < head:
            break
        at += size
    raise ValueError("it has no pixels")


class _Bits:
    """Bits of a stream, the lowest of each byte first."""

    def __init__(self, content: bytes) -> None:
        self._value, self._left = int.from_bytes(content, "little"), 8 * len(content)

    def take(self, number: int) -> int:
        """The next bits as a number."""
        if number > self._left:
            raise ValueError("its header is cut short")
        taken = self._value & ((1 << number) - 1)
        self._value, self._left = self._value >> number, self._left - number
        return taken
