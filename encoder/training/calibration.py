"""How likely the best of a query's re-ranked candidates is a match: a logistic fit on validation."""

from __future__ import annotations

import numpy as np

RIDGE = 1e-6
STEPS = 50


def fit_calibration(fitting: np.ndarray, strange: np.ndarray) -> tuple[float, float, float]:
    """(a, 0, b) of sigmoid(a * score + 0 * mean of the query's scores + b), from the best score of each query.

    The mean is left out: it tells queries apart well where all collections are like the one fitted on, and calls everything
    strange in a small collection of things that have nothing in common.

    Queries that some photo fits count as much as those that none fits, however many there are of either. A photo other
    than its own may fit a caption, so what counts is whether anything does, not whether the first is the one meant.

    Args:
        fitting: float [q, K], scores of the re-ranked candidates of sentences that were said of one of the photos.
        strange: float [p, K], the same of sentences that nobody would say of any of them.
    """
    rows = np.concatenate([_features(fitting), _features(strange)])
    labels = np.concatenate([np.ones(len(fitting)), np.zeros(len(strange))])
    weights = np.concatenate([np.full(len(fitting), 0.5 / len(fitting)), np.full(len(strange), 0.5 / len(strange))])
    a, b = _logistic(rows, labels, weights * len(rows))
    return float(a), 0.0, float(b)


def _features(scores: np.ndarray) -> np.ndarray:
    """[n, 2]: best score, 1."""
    return np.stack([scores.max(1), np.ones(len(scores))], 1)


def _logistic(rows: np.ndarray, labels: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Maximum likelihood by Newton's method; rows float [n, d], labels 0 or 1 and how much each counts [n] -> [d]."""
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
