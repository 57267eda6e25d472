"""Retrieval metrics: pure functions over numpy arrays. In a ranking, a tie always counts against the system."""

from __future__ import annotations

import numpy as np

MISS = np.inf
"""The rank of a right answer that was not found."""


def best_relevant_rank(scores: np.ndarray, relevant: np.ndarray) -> float:
    """The rank, from 1, of the best relevant item: 1 + how many others do not score strictly less; MISS without one.

    Args:
        scores: float [n], in any order.
        relevant: bool [n], which of them are right answers.
    """
    scores = np.asarray(scores, np.float64)
    relevant = np.asarray(relevant, bool)
    if not relevant.any():
        return MISS
    best = np.nan_to_num(scores[relevant], nan=-np.inf, posinf=np.inf, neginf=-np.inf).max()
    strictly_less = scores[~relevant] < best
    return float(1 + np.count_nonzero(~strictly_less))


def recall_at_k(ranks: np.ndarray, k: int) -> float:
    """The share of queries, in percent, whose best right answer is among the first k.

    Args:
        ranks: float [n], one a query, from `best_relevant_rank`; at least one.
    """
    return float(100 * np.mean(np.asarray(ranks) <= k))


def mean_over_folds(ranks: np.ndarray, folds: np.ndarray, k: int) -> float:
    """`recall_at_k` of each fold by itself, and the mean of those; in percent.

    Args:
        ranks: float [n].
        folds: int [n], which fold each query belongs to.
    """
    ranks, folds = np.asarray(ranks), np.asarray(folds)
    return float(np.mean([recall_at_k(ranks[folds == fold], k) for fold in np.unique(folds)]))


def recall_interval(ranks: np.ndarray, k: int, groups: np.ndarray, seed: int = 0, rounds: int = 1000) -> tuple[float, float]:
    """A 95 % bootstrap interval of `recall_at_k`, in percent.

    Whole groups are drawn, for the five captions of one photo are not five independent queries.

    Args:
        ranks: float [n].
        groups: [n], equal for the queries that belong together.
    """
    _, group_of = np.unique(groups, return_inverse=True)
    sizes = np.bincount(group_of)
    hits = np.bincount(group_of, weights=np.asarray(ranks) <= k)
    rng = np.random.default_rng(seed)
    even = np.full(len(sizes), 1 / len(sizes))
    recalls = np.empty(rounds)
    for i in range(rounds):
        drawn = rng.multinomial(len(sizes), even)
        recalls[i] = 100 * (drawn @ hits) / (drawn @ sizes)
    low, high = np.percentile(recalls, [2.5, 97.5])
    return float(low), float(high)


def roc_auc(present: np.ndarray, absent: np.ndarray) -> float:
    """How often a score of `present` lies above one of `absent`, over all pairs; a tie counts half.

    That is the area under the ROC curve: 1 where the two can be told apart by a threshold, 0.5 where they are alike.
    A score that is not a number counts against the system.

    Args:
        present, absent: float [n] and [m], each at least one.
    """
    present = np.nan_to_num(np.asarray(present, np.float64), nan=-np.inf, posinf=np.inf, neginf=-np.inf)
    absent = np.sort(np.nan_to_num(np.asarray(absent, np.float64), nan=np.inf, posinf=np.inf, neginf=-np.inf))
    below = np.searchsorted(absent, present, "left")
    below_or_tied = np.searchsorted(absent, present, "right")
    return float((below + below_or_tied).mean() / (2 * len(absent)))


def roc_auc_interval(present: np.ndarray, absent: np.ndarray, seed: int = 0, rounds: int = 1000) -> tuple[float, float]:
    """A 95 % bootstrap interval of `roc_auc`; each side is drawn from by itself."""
    present, absent = np.asarray(present, np.float64), np.asarray(absent, np.float64)
    rng = np.random.default_rng(seed)
    areas = [roc_auc(rng.choice(present, len(present)), rng.choice(absent, len(absent))) for _ in range(rounds)]
    low, high = np.percentile(areas, [2.5, 97.5])
    return float(low), float(high)


def median(values: np.ndarray) -> float:
    """The middle value, or the mean of the two in the middle."""
    return float(np.median(values))


def p95(values: np.ndarray) -> float:
    """The 95th percentile, interpolated between its neighbours."""
    return float(np.percentile(values, 95))
