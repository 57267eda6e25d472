"""Where words are seen in a photo, as shades to lay over it: what was not looked at is dark."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from search import Explanation

DARKEST = 0.68
LIFT = 0.6
"""The power that heat is raised to: one place alone has the most, and what is half as warm should be seen as well."""
LONGEST_SIDE = 32
Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class AttentionOverlay:
    """A shade for one word, or for the whole sentence (`word` is None).

    `data` is a PNG as a data URI, to be stretched over `box`, a part of the photo as (x, y, width, height) in its pixels;
    `outside` are the parts beside it that the model did not see.
    """

    word: str | None
    data: str
    box: Box
    outside: tuple[Box, ...] = ()


def attention_overlays(explanation: Explanation, width: int, height: int) -> list[AttentionOverlay]:
    """The whole sentence first, then its words, for a photo of so many pixels. A sentence of one word is its word."""
    box, outside = seen_part(explanation.preprocessing, width, height)
    maps = [(None, explanation.heat), *(explanation.words if len(explanation.words) > 1 else [])]
    return [AttentionOverlay(word, _shade(heat), box, outside) for word, heat in maps]


def seen_part(preprocessing: str, width: int, height: int) -> tuple[Box, tuple[Box, ...]]:
    """The part of a photo that becomes the encoder's square, and what lies beside it."""
    if preprocessing == "squash" or width == height:
        return (0, 0, width, height), ()
    side = min(width, height)
    x, y = (width - side) // 2, (height - side) // 2
    wide = ((0, 0, x, height), (x + side, 0, width - x - side, height))
    high = ((0, 0, width, y), (0, y + side, width, height - y - side))
    return (x, y, side, side), wide if width > height else high


def _shade(heat: np.ndarray) -> str:
    """Black, the more opaque the less was looked."""
    alpha = Image.fromarray(np.round((1 - heat**LIFT) * DARKEST * 255).astype(np.uint8))
    alpha = alpha.resize(_size(heat.shape), Image.Resampling.BICUBIC)
    shade = Image.merge("LA", (Image.new("L", alpha.size), alpha))
    file = io.BytesIO()
    shade.save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _size(grid: tuple[int, int]) -> tuple[int, int]:
    rows, columns = grid
    scale = max(LONGEST_SIDE / max(rows, columns), 1)
    return round(columns * scale), round(rows * scale)
