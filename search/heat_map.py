"""Where in a photo a sentence was found, from the attention of the cross-modal encoder: pure functions over numpy arrays.

Attention is float [layers, T, L]: how much each of T text tokens takes of each of L image tokens, the mean over the heads of a
layer; the last h * w image tokens are the places of the photo, row by row.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def sentence_attention(attention: np.ndarray, length: int) -> np.ndarray:
    """What the match logit was read from, float [L]: the mean over layers of what the sentence's tokens look at.

    Of the last layer that is the first token alone, for the logit is made of nothing else.

    Args:
        length: how many of the T tokens are no padding.
    """
    return np.stack([*attention[:-1, :length].mean(1), attention[-1, 0]]).mean(0)


def token_attention(attention: np.ndarray, tokens: Sequence[int]) -> np.ndarray:
    """What some tokens look at, float [L]: the mean over them and all layers but the last, whose words nothing reads; or that,
    alone."""
    return (attention[:-1] if len(attention) > 1 else attention)[:, tokens].mean((0, 1))


def heat_map(weights: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """The places of the photo, float [h, w], from 0 for what was looked at least to 1 for what was most; zeros where all are
    equal."""
    height, width = grid
    places = np.asarray(weights, np.float64)[len(weights) - height * width :].reshape(grid)
    spread = np.ptp(places)
    return (places - places.min()) / spread if spread > 0 else np.zeros(grid)
