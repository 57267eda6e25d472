"""The port of every vector index, and what all of them share."""

from __future__ import annotations

from typing import Protocol

import numpy as np

MISSING = -1


class VectorIndex(Protocol):
    """Vectors under 64-bit ids, searched by inner product. Any number of threads may search at once."""

    @property
    def count(self) -> int:
        """How many vectors a search without a filter looks at."""

    def search(self, queries: np.ndarray, k: int, allowed_ids: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The k best for each query, best first, equal scores by id.

        queries: float [q, D]; allowed_ids: int64 [a], the only ids that may be found (None: all).
        Returns scores float32 [q, k] and ids int64 [q, k]; where fewer than k were found the id is -1, the score -inf.
        """


class LiveIndex:
    """An index without the ids that were deleted since it was built."""

    def __init__(self, index: VectorIndex, excluded_ids: np.ndarray, count: int):
        self._index, self._excluded, self._count = index, excluded_ids, count

    @property
    def count(self) -> int:
        return self._count

    def search(self, queries: np.ndarray, k: int, allowed_ids: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """As VectorIndex.search."""
        return self._index.search(queries, k, allowed_ids, self._excluded)


def in_order(scores: np.ndarray, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each row by score downwards, equal scores by id upwards, what is missing last with score -inf."""
    scores = np.where(ids == MISSING, np.float32(-np.inf), scores)
    order = np.lexsort((ids, -scores))
    return np.take_along_axis(scores, order, axis=1), np.take_along_axis(ids, order, axis=1)


def padded(scores: np.ndarray, ids: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows widened to k with missing results."""
    width = ((0, 0), (0, max(0, k) - ids.shape[1]))
    return (
        np.pad(scores, width, constant_values=np.float32(-np.inf)),
        np.pad(ids, width, constant_values=MISSING),
    )
