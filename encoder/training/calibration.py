"""The match probability of a query's best re-ranked candidate: a logistic fit on validation."""

from __future__ import annotations

import numpy as np

RIDGE = 1e-6
STEPS = 50


def fit_calibration(matched: np.ndarray, unmatched: np.ndarray) -> tuple[float, float, float]:
    """Fit (a, 0, b) of sigmoid(a * score + 0 * mean of the query's scores + b) to the best score of each query.

    The mean's weight is always 0. A fitted one works well in collections like the one fitted on, but it calls everything
    unmatched in a small collection of unrelated things.

    Both kinds of queries have the same total weight. It counts whether any photo fits a sentence, not whether the first one
    is its own, because other photos may fit it too.

    Args:
        matched: scores of the re-ranked candidates of sentences that were written for one of the photos, float [q, K].
        unmatched: the same of sentences that fit none of the photos, float [p, K].
    """
    rows = np.concatenate([_features(matched), _features(unmatched)])
    labels = np.concatenate([np.ones(len(matched)), np.zeros(len(unmatched))])
    weights = np.concatenate([np.full(len(matched), 0.5 / len(matched)), np.full(len(unmatched), 0.5 / len(unmatched))])
    a, b = _logistic(rows, labels, weights * len(rows))
    return float(a), 0.0, float(b)


def _features(scores: np.ndarray) -> np.ndarray:
    """Make the rows [n, 2] of the fit: best score, 1."""
    return np.stack([scores.max(1), np.ones(len(scores))], 1)


def _logistic(rows: np.ndarray, labels: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Fit a logistic regression by Newton's method: rows float [n, d], labels 0 or 1 [n], weights of rows [n] -> [d]."""
    spread = np.maximum(np.abs(rows).max(0), 1e-9)
    x = rows / spread
    weights = np.zeros(x.shape[1])
    for _ in range(STEPS):
        p = 1.0 / (1.0 + np.exp(-np.clip(x @ weights, -30, 30)))
        gradient = x.T @ (counts * (labels - p)) - RIDGE * weights
        curvature = (x * (counts * p * (1 - p))[:, None]).T @ x + RIDGE * np.eye(x.shape[1])
        step = np.linalg.solve(curvature, gradient)
        weights += step
        if np.abs(step).max() < 1e-8:
            break
    return weights / spread
