"""Retrieval metrics: pure functions over numpy arrays. In a ranking, a tie always counts against the system."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

MISS = np.inf
"""The rank of a relevant item that was not found."""


def best_relevant_rank(scores: ArrayLike, relevant: ArrayLike) -> float:
    """The rank of the best relevant item: 1 + the number of others that do not score strictly less; MISS without one.

    Args:
        scores: float [n], in any order.
        relevant: bool [n], which of them are relevant.
    """
    scores = np.asarray(scores, np.float64)
    relevant = np.asarray(relevant, bool)
    if not relevant.any():
        return MISS
    best = np.nan_to_num(scores[relevant], nan=-np.inf, posinf=np.inf, neginf=-np.inf).max()
    strictly_less = scores[~relevant] < best
    return float(1 + np.count_nonzero(~strictly_less))


def recall_at_k(ranks: ArrayLike, k: int) -> float:
    """The share of queries, in percent, whose best relevant item is among the first k.

    Args:
        ranks: float [n], one a query, from `best_relevant_rank`; at least one.
    """
    return float(100 * np.mean(np.asarray(ranks) <= k))


def mean_over_folds(ranks: ArrayLike, folds: ArrayLike, k: int) -> float:
    """The mean of each fold's own `recall_at_k`, in percent.

    Args:
        ranks: float [n].
        folds: int [n], the fold of each query.
    """
    ranks, folds = np.asarray(ranks), np.asarray(folds)
    return float(np.mean([recall_at_k(ranks[folds == fold], k) for fold in np.unique(folds)]))


def recall_interval(ranks: ArrayLike, k: int, groups: ArrayLike, seed: int = 0, rounds: int = 1000) -> tuple[float, float]:
    """A 95 % bootstrap interval of `recall_at_k`, in percent.

    Whole groups are drawn, because the five captions of one photo are not five independent queries.

    Args:
        ranks: float [n].
        groups: [n], equal for queries that belong together.
    """
    _, group_of = np.unique(groups, return_inverse=True)
    sizes = np.bincount(group_of)
    hits = np.bincount(group_of, weights=np.asarray(ranks) <= k)
    low, high = bootstrap_interval(lambda drawn: 100 * (drawn @ hits) / (drawn @ sizes), len(sizes), seed, rounds)
    return float(low), float(high)


def bootstrap_interval(
    measure: Callable[[np.ndarray], ArrayLike], groups: int, seed: int = 0, rounds: int = 1000
) -> np.ndarray:
    """A 95 % bootstrap interval of a measure, or of several at once: float [2, ...], the lower and the upper ends.

    Args:
        measure: called with int64 [groups], how often each group was drawn; they add up to `groups`.
        groups: how many there are.
        seed: of the draws.
        rounds: how often to draw.
    """
    rng = np.random.default_rng(seed)
    even = np.full(groups, 1 / groups)
    drawn = np.array([measure(rng.multinomial(groups, even)) for _ in range(rounds)])
    return np.percentile(drawn, [2.5, 97.5], axis=0)


def roc_auc(present: ArrayLike, absent: ArrayLike) -> float:
    """The area under the ROC curve: the share of pairs in which `present` scores above `absent`; a tie counts half.

    It is 1 if a threshold separates the two, and 0.5 if they are alike. A NaN counts against the system.

    Args:
        present: float [n], at least one.
        absent: float [m], at least one.
    """
    upper = np.nan_to_num(np.asarray(present, np.float64), nan=-np.inf, posinf=np.inf, neginf=-np.inf)
    lower = np.sort(np.nan_to_num(np.asarray(absent, np.float64), nan=np.inf, posinf=np.inf, neginf=-np.inf))
    below = np.searchsorted(lower, upper, "left")
    below_or_tied = np.searchsorted(lower, upper, "right")
    return float((below + below_or_tied).mean() / (2 * len(lower)))


def roc_auc_interval(present: ArrayLike, absent: ArrayLike, seed: int = 0, rounds: int = 1000) -> tuple[float, float]:
    """A 95 % bootstrap interval of `roc_auc`; the two sides are drawn independently."""
    present, absent = np.asarray(present, np.float64), np.asarray(absent, np.float64)
    rng = np.random.default_rng(seed)
    areas = [roc_auc(rng.choice(present, len(present)), rng.choice(absent, len(absent))) for _ in range(rounds)]
    low, high = np.percentile(areas, [2.5, 97.5])
    return float(low), float(high)


def median(values: ArrayLike) -> float:
    """The middle value, or the mean of the two in the middle."""
    return float(np.median(np.asarray(values, np.float64)))


def p95(values: ArrayLike) -> float:
    """The 95th percentile, interpolated between its neighbours."""
    return float(np.percentile(np.asarray(values, np.float64), 95))
