"""From re-ranked scores to match probabilities, and from these to a word: pure functions over numpy arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

Relevance = Literal["strong", "weak", "none"]
WORDS: tuple[Relevance, ...] = ("strong", "weak", "none")

STRONG = 0.5
"""From here on a candidate is more likely a match than not."""
WEAK = 0.1
"""Below this, nine of ten candidates are no match: it is better to say that nothing was found."""

_LARGEST = 1e100
_SURE = 700.0  # exp(700) is still a float64


def match_probabilities(head_scores: np.ndarray, calibration: Sequence[float]) -> np.ndarray:
    """Compute how likely each re-ranked candidate is a match, float64 [n].

    The mean of the head takes part because a score means little by itself: a sentence that fits many photos a little
    scores them all high, and the best of them need not stand out.

    Args:
        head_scores: float [n], `ranking.fit_scores` of all candidates that were re-ranked for one query.
        calibration: (a, m, b) of sigmoid(a * score + m * mean(head_scores) + b), from the model's config.
    """
    scores = _bounded(head_scores)
    if not len(scores):
        return scores
    slope, mean_slope, offset = _bounded(calibration)
    return _sigmoid(slope * scores + mean_slope * scores.mean() + offset)


def relevance(probability: float) -> Relevance:
    """The word for the best match probability of a ranking."""
    if probability >= STRONG:
        return "strong"
    return "weak" if probability >= WEAK else "none"


def _bounded(values: np.ndarray | Sequence[float]) -> np.ndarray:
    """Convert to float64, clipped so that no product is infinite and no difference is NaN."""
    return np.clip(np.asarray(values, np.float64), -_LARGEST, _LARGEST)


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(values, -_SURE, _SURE)))
