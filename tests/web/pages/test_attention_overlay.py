"""Attention overlays: their parts and their shades."""

from __future__ import annotations

import base64
import io

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from search import Explanation
from web.pages.attention_overlay import AttentionOverlay, attention_overlays, seen_part

SIDES = st.integers(1, 5000)


def explained(heat, words=(), preprocessing="squash") -> Explanation:
    return Explanation(1, 1, "a red bus", 0.5, preprocessing, np.array(heat, float), list(words), [])


def shade(overlay: AttentionOverlay) -> np.ndarray:
    """The opacity of an overlay's PNG, uint8 [h, w]."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(overlay.data.partition(",")[2]))).getchannel("A"))


def test_the_part_with_most_attention_stays_bright():
    alpha = shade(attention_overlays(explained([[0, 0, 0], [0, 0, 1], [0, 0, 0]]), 900, 300)[0])

    assert alpha.shape == (32, 32)
    row, column = np.unravel_index(alpha.argmin(), alpha.shape)
    assert column > 26 and 10 <= row <= 21 and alpha.min() < 20 and alpha[0, 0] > 160


def test_the_sentence_comes_first_then_its_words():
    heat = np.eye(2)
    overlays = attention_overlays(explained(heat, [("a", heat), ("bus", heat)]), 40, 30)

    assert [overlay.word for overlay in overlays] == [None, "a", "bus"]
    assert [overlay.word for overlay in attention_overlays(explained(heat, [("bus", heat)]), 40, 30)] == [None]


def test_a_squashed_photo_was_seen_whole():
    assert seen_part("squash", 640, 480) == ((0, 0, 640, 480), ())


def test_the_sides_of_a_cropped_photo_are_dark():
    (overlay,) = attention_overlays(explained(np.ones((7, 7)), preprocessing="center_crop"), 640, 480)

    assert overlay.box == (80, 0, 480, 480) and overlay.outside == ((0, 0, 80, 480), (560, 0, 80, 480))


@given(SIDES, SIDES, st.sampled_from(["squash", "center_crop", "resize_crop", "resize_crop_cv"]))
def test_the_parts_make_up_the_photo(width, height, preprocessing):
    box, outside = seen_part(preprocessing, width, height)

    assert sum(w * h for _, _, w, h in (box, *outside)) == width * height
    assert all(x >= 0 and y >= 0 and x + w <= width and y + h <= height for x, y, w, h in (box, *outside))
