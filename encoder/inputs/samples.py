"""From raw samples, of which it is known what is white, to a picture of 8 bits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from encoder.inputs.limits import Unsupported

ROWS = 256
"""So many rows are scaled at once: a copy of all in float32 would take four times the memory of the picture."""
LOWEST, HIGHEST, MOST_OUTSIDE = -0.25, 2.0, 0.05
"""Floats of a photo go from 0 to 1; sharpening and highlights leave a few of them a little outside."""


@dataclass(frozen=True, eq=False)
class Samples:
    """Raw samples.

    Attributes:
        values: [h, w, channels], numbers of any kind.
        white: the number that stands for white, or for all of an ink.
        black: the number that stands for black, or for none.
        mode: Pillow's mode of the picture: "L", "LA", "RGB", "RGBA", "CMYK", "LAB"; None: the one that has so many channels.
    """

    values: np.ndarray
    white: float
    black: float = 0.0
    mode: str | None = None


def to_picture(samples: Samples) -> Image.Image:
    """Scale samples to a picture of 8 bits.

    Raises:
        Unsupported: there is no picture of so many channels, or nothing can be seen in it.
    """
    height, width, channels = samples.values.shape
    mode = samples.mode or {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}.get(channels)
    if mode is None:
        raise Unsupported(f"has {channels} channels, which no colours are known of")
    out = np.empty((height, width, channels), np.uint8)
    for start in range(0, height, ROWS):
        part = slice(start, start + ROWS)
        scaled = (samples.values[part].astype(np.float32) - samples.black) * (255.0 / (samples.white - samples.black))
        out[part] = np.clip(np.nan_to_num(scaled, nan=0.0, posinf=255.0, neginf=0.0) + 0.5, 0, 255).astype(np.uint8)
    check_visible(samples.values, out)
    image = Image.frombytes(mode, (width, height), out.tobytes())
    return image.convert("LA") if mode == "La" else image


def check_visible(values: np.ndarray, scaled: np.ndarray) -> None:
    """Check that numbers that differ are not all black or all white once they are scaled: then the scale is not theirs.

    Raises:
        Unsupported: they are.
    """
    if scaled.size and scaled.min() == scaled.max() in (0, 255) and values.min() != values.max():
        raise Unsupported(f"has numbers from {values.min():g} to {values.max():g}, which would all be as black or as white")


def check_floats(values: np.ndarray) -> None:
    """Check that floats go from 0 to 1, as a photo's do.

    Raises:
        Unsupported: they don't, so that nobody knows which of them is white.
    """
    parts = [values[start : start + ROWS] for start in range(0, len(values), ROWS)]
    finite = [part[np.isfinite(part)] for part in parts]
    if not any(part.size for part in finite):
        raise Unsupported("has no number in any pixel")
    smallest, largest = (float(end([end(part) for part in finite if part.size])) for end in (np.min, np.max))
    outside = sum(int(np.count_nonzero((part < 0) | (part > 1))) for part in finite)
    if smallest < LOWEST or largest > HIGHEST or outside > MOST_OUTSIDE * values.size:
        raise Unsupported(f"has pixels from {smallest:g} to {largest:g} as floats, and nothing says which of them is white")
