"""Histograms for the small plots that the server draws: pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SIZES = (0.3, 1, 2, 4, 8, 16)
"""The edges between the bins of sizes, in megapixels."""
SHAPES = (0.67, 0.95, 1.05, 1.5)
"""The edges between the bins of width over height."""


@dataclass(frozen=True)
class Bar:
    """One bar: its label, its count, and its length as a share of the longest bar, 0 to 1."""

    label: str
    count: int
    share: float


def bars(counts: Sequence[tuple[str, int]]) -> list[Bar]:
    """A bar for each (label, count), in the same order."""
    longest = max((count for _, count in counts), default=0)
    return [Bar(label, count, count / longest if longest else 0.0) for label, count in counts]


def size_counts(widths: np.ndarray, heights: np.ndarray) -> list[tuple[str, int]]:
    """(label, number of photos) for each bin of megapixels; widths and heights are pixels, int [n]."""
    return _counts(widths.astype(np.int64) * heights / 1e6, SIZES, " MP")


def shape_counts(widths: np.ndarray, heights: np.ndarray) -> list[tuple[str, int]]:
    """(label, number of photos) for each bin of width over height."""
    return _counts(widths / np.maximum(heights, 1), SHAPES, "")


def _counts(values: np.ndarray, edges: Sequence[float], unit: str) -> list[tuple[str, int]]:
    counts = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)
    middle = [f"{low:g}–{high:g}{unit}" for low, high in zip(edges, edges[1:], strict=False)]
    labels = [f"< {edges[0]:g}{unit}", *middle, f"≥ {edges[-1]:g}{unit}"]
    return list(zip(labels, counts.tolist(), strict=True))
