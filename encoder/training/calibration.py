"""How likely a re-ranked candidate is a match: a logistic fit on validation."""

from __future__ import annotations

import numpy as np

RIDGE = 1e-6
STEPS = 50


def fit_calibration(scores: np.ndarray, right: np.ndarray) -> tuple[float, float, float]:
    """(a, m, b) of sigmoid(a * score + m * mean of the query's scores + b), fitted to candidates that are right or not.

    Each query counts twice, with its right candidate and as if that photo were not there, so that the probability says
    something where nothing fits.

    Args:
        scores: float [q, K], of each query's re-ranked candidates.
        right: bool [q, K], at most one in a row.
    """
    present = _examples(scores, np.ones_like(right))
    absent = _examples(scores, ~right)
    rows = np.concatenate([present, absent])
    labels = np.concatenate([right.ravel(), np.zeros(len(absent))])
    a, m, b = _logistic(rows, labels)
    return float(a), float(m), float(b)


def _examples(scores: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """[n, 3] of the candidates that are kept: score, mean of the query's scores that are kept, 1."""
    means = (scores * kept).sum(1) / np.maximum(kept.sum(1), 1)
    rows = np.stack([scores, np.broadcast_to(means[:, None], scores.shape), np.ones_like(scores)], -1)
    return rows[kept]


def _logistic(rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Maximum likelihood by Newton's method; rows float [n, d], labels 0 or 1 [n] -> [d]."""
    spread = np.maximum(np.abs(rows).max(0), 1e-9)
    x = rows / spread
    weights = np.zeros(x.shape[1])
    for _ in range(STEPS):
        p = 1.0 / (1.0 + np.exp(-np.clip(x @ weights, -30, 30)))
        gradient = x.T @ (labels - p) - RIDGE * weights
        curvature = (x * (p * (1 - p))[:, None]).T @ x + RIDGE * np.eye(x.shape[1])
        step = np.linalg.solve(curvature, gradient)
        weights += step
        if np.abs(step).max() < 1e-8:
            break
    return weights / spread
