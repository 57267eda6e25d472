"""Pure functions that measure an approximate index and find the cheapest setting that is good enough."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

WANTED_RECALL = 0.99
TUNING_RECALL = 0.995  # on the queries that it is tuned with, so that other queries still find what is WANTED_RECALL
K = 10
MIN_VECTORS_A_LIST = 39  # what FAISS asks for


def recall(found: np.ndarray, exact: np.ndarray) -> float:
    """Compute k-recall@k: the share of the exact results that were found.

    Args:
        found: Int64 [q, j], ids that an index found.
        exact: Int64 [q, k], ids that exact search found; missing ones (id -1) don't count.

    Returns:
        A number from 0 to 1; 1 if there is nothing to find.
    """
    wanted = exact >= 0
    hits = (exact[:, :, None] == found[:, None, :]).any(axis=2) & wanted
    return float(hits.sum() / wanted.sum()) if wanted.any() else 1.0


def cheapest(values: Iterable[int], found_with: Callable[[int], np.ndarray], exact: np.ndarray) -> int | None:
    """The cheapest value with which a search finds enough; None if there is none.

    Args:
        values: The values to try, cheapest first.
        found_with: Searches with a value; ids int64 [q, j].
        exact: Int64 [q, k], the ids that exact search finds.
    """
    return next((value for value in values if recall(found_with(value), exact) >= TUNING_RECALL), None)


def doubling(most: int) -> list[int]:
    """List 1, 2, 4, ... up to `most`, which is the last."""
    values = [1 << power for power in range(most.bit_length()) if 1 << power < most]
    return [*values, most]


def lists_for(count: int) -> int:
    """The number of lists of an inverted file for `count` vectors.

    It is a power of two near twice the square root, but so small that each list has enough vectors to learn its centre from.
    """
    return 1 << int(np.log2(max(1.0, min(3 * count**0.5, count / MIN_VECTORS_A_LIST))))
