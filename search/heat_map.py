"""Where in a photo a sentence was found, from the cross-modal encoder's attention: pure functions over numpy arrays.

Attention is float [layers, T, L]: how much of image token l each text token t takes, averaged over the heads of a layer. The
last h * w of the L image tokens are the cells of the photo, row by row.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def sentence_attention(attention: np.ndarray, length: int) -> np.ndarray:
    """The attention behind the match logit, float [L]: that of the sentence's tokens, averaged over the layers.

    In the last layer only the first token counts, because the logit is made of nothing else.

    Args:
        attention: float [layers, T, L].
        length: how many of the T tokens are not padding.
    """
    return np.stack([*attention[:-1, :length].mean(1), attention[-1, 0]]).mean(0)


def token_attention(attention: np.ndarray, tokens: Sequence[int]) -> np.ndarray:
    """The attention of some tokens, float [L], averaged over them and over the layers.

    The last layer does not count unless it is the only one: nothing reads the words there.

    Args:
        attention: float [layers, T, L].
        tokens: positions of text tokens.
    """
    return (attention[:-1] if len(attention) > 1 else attention)[:, tokens].mean((0, 1))


def heat_map(weights: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Scale attention to a map of the photo, float [h, w], from 0 (least) to 1 (most); zeros if all cells are equal.

    Args:
        weights: float [L].
        grid: (h, w).
    """
    height, width = grid
    cells = np.asarray(weights, np.float64)[len(weights) - height * width :].reshape(grid)
    spread = np.ptp(cells)
    return (cells - cells.min()) / spread if spread > 0 else np.zeros(grid)
