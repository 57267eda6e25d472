"""How good an approximate index is, and the cheapest setting that is good enough: pure functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

WANTED = 0.99
TUNED_FOR = 0.995  # on the queries that it is tuned with, so that other queries still find what is WANTED
K = 10
LEAST_A_LIST = 39  # what FAISS asks for


def recall(found: np.ndarray, exact: np.ndarray) -> float:
    """k-recall@k: the share of the exact search's results, int64 [q, k], that were found, int64 [q, j]; missing ones (id -1)
    in the exact results don't count. 1 where there is nothing to find."""
    wanted = exact >= 0
    hits = (exact[:, :, None] == found[:, None, :]).any(axis=2) & wanted
    return float(hits.sum() / wanted.sum()) if wanted.any() else 1.0


def cheapest(values: Iterable[int], found_with: Callable[[int], np.ndarray], exact: np.ndarray) -> int | None:
    """The first of the values, which come cheapest first, with which enough is found; None where none is good enough."""
    return next((value for value in values if recall(found_with(value), exact) >= TUNED_FOR), None)


def doubling(most: int) -> list[int]:
    """1, 2, 4, ... up to `most`, which is the last."""
    values = [1 << power for power in range(most.bit_length()) if 1 << power < most]
    return [*values, most]


def lists_for(count: int) -> int:
    """How many lists an inverted file of so many vectors has: a power of two, about twice the square root, but so few that
    each has vectors enough to learn its centre from."""
    return 1 << int(np.log2(max(1.0, min(3 * count**0.5, count / LEAST_A_LIST))))
