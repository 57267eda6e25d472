"""Near-duplicates in a ranking, folded into the first of them: pure functions over numpy arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

BLOCK = 256
ROUNDING = 1e-6
"""What the same cosine may differ by between two products of other shapes."""
SAME = 0.95
"""The cosine from which two photos count as one; see docs/searching.md for what lies above it."""


def collapse(vectors: np.ndarray, keys: Sequence[object], threshold: float) -> np.ndarray:
    """For each candidate, best first, the position of the one that it is folded into; its own where it stays.

    A candidate is folded into the first that stays and is alike: with a cosine of at least `threshold`, or standing for the
    first candidate of the same key. So what becomes of it does not depend on what comes after it, and pages agree however
    deep they look.

    Args:
        vectors: float [n, D], of unit length.
        keys: n values that are equal for what is the same to the byte.

    Returns:
        int64 [n].
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
            found = [kept[place] for place in np.flatnonzero(before[row])[:1]]
            found += [own for own in kept[known:] if within[row, own - start]][:1]
            found += [by_key[keys[i]]] if keys[i] in by_key else []
            if found:
                into[i] = min(found)
            else:
                kept.append(i)
            by_key.setdefault(keys[i], int(into[i]))
    return into
