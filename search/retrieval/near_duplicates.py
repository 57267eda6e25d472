"""Collapse the near-duplicates of a ranking into the first of them: pure functions over numpy arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

BLOCK = 256
ROUNDING = 1e-6
"""How much the same cosine can differ between two matrix products of different shapes."""
SAME = 0.95
"""The cosine from which two photos count as one; docs/searching.md shows what lies above it."""


def collapse(vectors: np.ndarray, keys: Sequence[object], threshold: float) -> np.ndarray:
    """Find, for each candidate, the candidate that it is collapsed into; itself if it stays.

    A candidate is collapsed into the first one that stays and is alike: its cosine is at least `threshold`, or it stands
    for the first candidate with the same key. This depends only on the candidates before it, so that pages agree however
    deep they look.

    Args:
        vectors: float [n, D], of unit length, best candidate first.
        keys: n values; equal for candidates that are the same byte for byte.
        threshold: the cosine from which on two candidates count as one.

    Returns:
        Positions, int64 [n].
    """
    into = np.arange(len(vectors))
    kept: list[int] = []
    by_key: dict[object, int] = {}
    threshold -= ROUNDING
    for start in range(0, len(vectors), BLOCK):
        block = vectors[start : start + BLOCK]
        before = block @ vectors[kept].T >= threshold  # in one product: one by one they would wait for memory
        within = block @ block.T >= threshold
        known = len(kept)
        for row, i in enumerate(range(start, start + len(block))):
            alike = [kept[position] for position in np.flatnonzero(before[row])[:1]]
            alike += [own for own in kept[known:] if within[row, own - start]][:1]
            alike += [by_key[keys[i]]] if keys[i] in by_key else []
            if alike:
                into[i] = min(alike)
            else:
                kept.append(i)
            by_key.setdefault(keys[i], int(into[i]))
    return into
