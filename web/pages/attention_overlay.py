"""Attention maps as shades to lay over a photo: the parts that were looked at least are darkest."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from search import Explanation

DARKEST = 0.68
LIFT = 0.6
"""The power that attention is raised to: only one place has the maximum, and half of that should be visible too."""
LONGEST_SIDE = 32
Box = tuple[int, int, int, int]
"""(x, y, width, height) in pixels of the photo."""


@dataclass(frozen=True)
class AttentionOverlay:
    """A shade for one word, or for the whole sentence.

    Attributes:
        word: The word; None: the whole sentence.
        data: A PNG as a data URI, to be stretched over `box`.
        box: The part of the photo that the model saw.
        outside: The parts beside it, which the model did not see.
    """

    word: str | None
    data: str
    box: Box
    outside: tuple[Box, ...] = ()


def attention_overlays(explanation: Explanation, width: int, height: int) -> list[AttentionOverlay]:
    """The overlays for a photo of `width` x `height` pixels: the whole sentence first, then its words if there are several."""
    box, outside = seen_part(explanation.preprocessing, width, height)
    maps = [(None, explanation.heat), *(explanation.words if len(explanation.words) > 1 else [])]
    return [AttentionOverlay(word, _shade(heat), box, outside) for word, heat in maps]


def seen_part(preprocessing: str, width: int, height: int) -> tuple[Box, tuple[Box, ...]]:
    """The part of a photo that becomes the encoder's square, and the parts beside it."""
    if preprocessing == "squash" or width == height:
        return (0, 0, width, height), ()
    side = min(width, height)
    x, y = (width - side) // 2, (height - side) // 2
    wide = ((0, 0, x, height), (x + side, 0, width - x - side, height))
    high = ((0, 0, width, y), (0, y + side, width, height - y - side))
    return (x, y, side, side), wide if width > height else high


def _shade(heat: np.ndarray) -> str:
    """A black PNG as a data URI, most opaque where `heat` (float [h, w], 0 to 1) is least."""
    rows, columns = heat.shape
    alpha = Image.fromarray(np.round((1 - heat**LIFT) * DARKEST * 255).astype(np.uint8))
    alpha = alpha.resize(_size(rows, columns), Image.Resampling.BICUBIC)
    shade = Image.merge("LA", (Image.new("L", alpha.size), alpha))
    file = io.BytesIO()
    shade.save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _size(rows: int, columns: int) -> tuple[int, int]:
    """Width and height of the PNG: some pixels a cell, so that it is smooth."""
    scale = max(LONGEST_SIDE / max(rows, columns), 1)
    return round(columns * scale), round(rows * scale)
