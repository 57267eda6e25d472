"""Several vectors as one: pure functions over numpy arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from search.errors import TermsCancelOut

SHORTEST_SUM = 1e-4


def combine_vectors(vectors: np.ndarray, weights: Sequence[float]) -> np.ndarray:
    """The weighted sum of unit vectors, of unit length itself: float32 [D].

    What is nearest to it by cosine is what has the greatest weighted sum of the cosines with each. A single vector comes
    back as it is.

    Args:
        vectors: float [n, D], at least one.
        weights: n numbers; those below 0 push away.

    Raises TermsCancelOut where nothing is left.
    """
    vectors, weights = np.asarray(vectors), np.asarray(weights, np.float64)
    if len(vectors) == 1 and weights[0] > 0:
        return vectors[0].astype(np.float32, copy=False)
    total = weights @ vectors.astype(np.float64)
    length = np.linalg.norm(total)
    if length < SHORTEST_SUM * np.abs(weights).max():
        raise TermsCancelOut
    return (total / length).astype(np.float32)
