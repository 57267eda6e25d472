from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from search.retrieval.calibration import STRONG, WEAK, match_probabilities, relevance

finite = st.floats(allow_nan=False, allow_infinity=False)
heads = hnp.arrays(np.float64, st.integers(1, 40), elements=finite)
usual_heads = hnp.arrays(np.float64, st.integers(1, 40), elements=st.floats(-60, 60))


def test_the_probability_is_the_sigmoid_of_score_and_mean():
    chances = match_probabilities(np.array([12.0, 8.0, 4.0]), (0.5, -0.25, 1.0))

    assert chances.tolist() == pytest.approx([1 / (1 + math.exp(-z)) for z in (5.0, 3.0, 1.0)])


def test_a_negative_mean_slope_rewards_scores_above_the_mean():
    alone = match_probabilities(np.array([10.0, 0.0, 0.0]), (1.0, -1.0, 0.0))
    among_equals = match_probabilities(np.array([10.0, 10.0, 10.0]), (1.0, -1.0, 0.0))

    assert alone[0] > 0.99 and among_equals[0] == 0.5


def test_without_re_ranking_there_are_no_probabilities():
    assert match_probabilities(np.array([]), (1.0, 0.0, 0.0)).tolist() == []


def test_scores_may_be_float32():
    assert match_probabilities(np.zeros(2, np.float32), (1.0, 1.0, 0.0)).dtype == np.float64


@pytest.mark.parametrize(
    ("probability", "word"),
    [(1.0, "strong"), (STRONG, "strong"), (0.49, "weak"), (WEAK, "weak"), (0.09, "none"), (0.0, "none")],
)
def test_the_word_for_a_probability(probability, word):
    assert relevance(probability) == word


@given(heads, st.tuples(finite, finite, finite))
def test_probabilities_lie_between_0_and_1_whatever_the_numbers(scores, calibration):
    chances = match_probabilities(scores, calibration)

    assert chances.shape == scores.shape
    assert ((chances >= 0) & (chances <= 1)).all()


@given(heads, st.floats(0, 1e3), finite, finite)
def test_a_higher_score_is_never_less_likely(scores, slope, mean_slope, offset):
    chances = match_probabilities(scores, (slope, mean_slope, offset))

    assert (np.diff(chances[np.argsort(scores)]) >= 0).all()


@given(usual_heads, st.floats(-60, 60))
def test_with_opposite_slopes_only_the_distance_from_the_mean_counts(scores, shift):
    there = match_probabilities(scores, (0.3, -0.3, -1.0))

    assert match_probabilities(scores + shift, (0.3, -0.3, -1.0)).tolist() == pytest.approx(there.tolist(), abs=1e-9)


@given(usual_heads)
def test_the_order_of_candidates_does_not_matter(scores):
    there = match_probabilities(scores, (0.3, -0.1, -1.0))

    assert match_probabilities(scores[::-1], (0.3, -0.1, -1.0)).tolist() == pytest.approx(there[::-1].tolist())
