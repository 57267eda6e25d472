"""The port of every vector index, and what all of them share."""

from __future__ import annotations

from typing import Protocol

import numpy as np

MISSING = -1


class VectorIndex(Protocol):
    """Vectors under 64-bit ids, searched by inner product. Any number of threads may search at once."""

    @property
    def count(self) -> int:
        """The number of vectors that a search without a filter looks at."""
        ...

    def search(
        self,
        queries: np.ndarray,
        k: int,
        allowed_ids: np.ndarray | None = None,
        excluded_ids: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Find the k best for each query, best first, equal scores by id.

        Args:
            queries: Float [q, D].
            k: How many to find for each query.
            allowed_ids: Int64 [a], the only ids that may be found; None allows all.
            excluded_ids: Int64 [e], ids that are never found, even if they are allowed.

        Returns:
            Scores float32 [q, k] and ids int64 [q, k]. Where fewer than k are found, the id is -1 and the score -inf.
        """
        ...


class LiveIndex:
    """An index without the ids that were deleted after it was built."""

    def __init__(self, index: VectorIndex, deleted_ids: np.ndarray, count: int):
        """Wrap an index.

        Args:
            index: What was built.
            deleted_ids: Int64 [d], ids that must not be found any more.
            count: The number of vectors that are left.
        """
        self._index, self._deleted_ids, self._count = index, deleted_ids, count

    @property
    def count(self) -> int:
        """The number of vectors that are not deleted."""
        return self._count

    def search(
        self,
        queries: np.ndarray,
        k: int,
        allowed_ids: np.ndarray | None = None,
        excluded_ids: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Search as `VectorIndex.search` does. Deleted ids are excluded too."""
        excluded_ids = self._deleted_ids if excluded_ids is None else np.union1d(self._deleted_ids, excluded_ids)
        return self._index.search(queries, k, allowed_ids, excluded_ids)


def in_order(scores: np.ndarray, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sort each row by score, highest first; equal scores by id, lowest first; missing results last, with score -inf."""
    scores = np.where(ids == MISSING, np.float32(-np.inf), scores)
    order = np.lexsort((ids, -scores))
    return np.take_along_axis(scores, order, axis=1), np.take_along_axis(ids, order, axis=1)


def padded(scores: np.ndarray, ids: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Widen each row to k with missing results."""
    width = ((0, 0), (0, max(0, k) - ids.shape[1]))
    return (
        np.pad(scores, width, constant_values=np.float32(-np.inf)),
        np.pad(ids, width, constant_values=MISSING),
    )
