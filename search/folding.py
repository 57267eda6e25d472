"""Near-duplicates in a ranking, folded into the first of them: pure functions over numpy arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SAME = 0.95
"""The cosine from which two photos count as one; see docs/searching.md for what lies above it."""


def fold(vectors: np.ndarray, keys: Sequence[object], threshold: float) -> np.ndarray:
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
    stack = np.empty_like(vectors)
    for i, vector in enumerate(vectors):
        near = np.flatnonzero(stack[: len(kept)] @ vector >= threshold)
        found = [kept[near[0]]] if len(near) else []
        if keys[i] in by_key:
            found.append(by_key[keys[i]])
        if found:
            into[i] = min(found)
        else:
            stack[len(kept)] = vector
            kept.append(i)
        by_key.setdefault(keys[i], int(into[i]))
    return into
