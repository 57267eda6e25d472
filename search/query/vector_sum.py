"""Combine several vectors into one: pure functions over numpy arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from search.errors import TermsCancelOut

SHORTEST_SUM = 1e-4


def combine_vectors(vectors: np.ndarray | Sequence[np.ndarray], weights: Sequence[float]) -> np.ndarray:
    """Compute the weighted sum of unit vectors, scaled to unit length: float32 [D].

    Its cosine with a candidate orders candidates by the weighted sum of their cosines with each vector. A single vector with
    a positive weight is returned unchanged.

    Args:
        vectors: float [n, D], at least one.
        weights: n numbers; those below 0 push away.

    Raises:
        TermsCancelOut: the sum is almost 0.
    """
    vectors, factors = np.asarray(vectors), np.asarray(weights, np.float64)
    if len(vectors) == 1 and factors[0] > 0:
        return vectors[0].astype(np.float32, copy=False)
    total = factors @ vectors.astype(np.float64)
    length = np.linalg.norm(total)
    if length < SHORTEST_SUM * np.abs(factors).max():
        raise TermsCancelOut
    return (total / length).astype(np.float32)
