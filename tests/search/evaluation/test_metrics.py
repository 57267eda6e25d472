from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from search.evaluation.metrics import (
    MISS,
    best_relevant_rank,
    median,
    p95,
    recall_at_k,
    recall_interval,
    roc_auc,
    roc_auc_interval,
)


@st.composite
def judged_scores(draw):
    n = draw(st.integers(1, 40))
    scores = draw(hnp.arrays(np.float64, n, elements=st.integers(-3, 3).map(float)))
    relevant = draw(hnp.arrays(np.bool_, n))
    return scores, relevant


def worst_rank_over_all_orders(scores, relevant):
    """By definition: sort with every tie settled against the right answers, and count down to the first of them."""
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], relevant[i]))
    return next((rank for rank, i in enumerate(order, 1) if relevant[i]), MISS)


def test_the_best_of_several_relevant_items_counts():
    assert best_relevant_rank([0.9, 0.8, 0.7, 0.6], [False, True, False, True]) == 2


def test_relevant_items_do_not_lower_each_others_rank():
    assert best_relevant_rank([0.5, 0.5, 0.5], [True, True, False]) == 2


def test_no_relevant_item_is_a_miss():
    assert best_relevant_rank([0.9, 0.8], [False, False]) == MISS
    assert recall_at_k([MISS], 10) == 0


def test_a_nan_score_never_ranks_first():
    assert best_relevant_rank([np.nan, 0.1], [True, False]) == 2
    assert best_relevant_rank([0.1, np.nan], [True, False]) == 2


@given(judged_scores())
def test_rank_is_the_worst_that_ties_allow(judged):
    assert best_relevant_rank(*judged) == worst_rank_over_all_orders(*judged)


@given(judged_scores(), st.randoms())
def test_rank_does_not_depend_on_the_order_of_items(judged, random):
    scores, relevant = judged
    shuffled = list(range(len(scores)))
    random.shuffle(shuffled)

    assert best_relevant_rank(scores[shuffled], relevant[shuffled]) == best_relevant_rank(scores, relevant)


@given(st.integers(2, 200), st.integers(1, 10), st.floats(-5, 5))
def test_a_constant_score_never_beats_chance(n, k, constant):
    ranks = [best_relevant_rank(np.full(n, constant), np.arange(n) == i) for i in range(n)]

    assert recall_at_k(ranks, k) <= 100 * k / n or k >= n


def test_recall_is_a_percentage():
    assert recall_at_k([1, 3, 7, 20], 5) == 50


@given(st.lists(st.integers(1, 50), min_size=1, max_size=50))
def test_recall_rises_with_k(ranks):
    recalls = [recall_at_k(ranks, k) for k in (1, 5, 10, 50)]

    assert recalls == sorted(recalls) and recalls[-1] == 100


def test_interval_is_seeded_and_holds_the_recall():
    ranks = np.arange(100) % 10 + 1
    low, high = recall_interval(ranks, 3, np.arange(100), seed=4)

    assert low < recall_at_k(ranks, 3) < high
    assert (low, high) == recall_interval(ranks, 3, np.arange(100), seed=4)


def test_the_interval_of_perfect_recall_is_a_point():
    assert recall_interval([1, 1, 1], 1, [1, 2, 3]) == (100, 100)


def test_grouped_queries_give_a_wider_interval_than_independent_ones():
    ranks = np.repeat([1, 99], 50)
    low, high = recall_interval(ranks, 1, np.arange(100))
    grouped_low, grouped_high = recall_interval(ranks, 1, np.arange(100) // 10)

    assert grouped_high - grouped_low > high - low


few_values = st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=30)


def auc_by_definition(present, absent):
    return np.mean([(p > a) + (p == a) / 2 for p in present for a in absent])


def test_area_is_1_if_a_threshold_separates_the_two():
    assert roc_auc([3, 4, 5], [0, 1, 2]) == 1
    assert roc_auc([0, 1, 2], [3, 4, 5]) == 0


def test_a_tie_counts_half():
    assert roc_auc([1, 1], [1, 1]) == 0.5
    assert roc_auc([1, 2], [1]) == 0.75


def test_a_nan_score_counts_against_the_system():
    assert roc_auc([np.nan], [0.0]) == 0
    assert roc_auc([0.0], [np.nan]) == 0


@given(few_values, few_values)
def test_area_agrees_with_its_definition(present, absent):
    assert roc_auc(present, absent) == pytest.approx(auc_by_definition(present, absent))
    assert roc_auc(present, absent) + roc_auc(absent, present) == pytest.approx(1)


@given(few_values, few_values)
def test_only_the_order_of_scores_counts(present, absent):
    assert roc_auc(np.exp(present), np.exp(absent)) == roc_auc(present, absent)


def test_interval_of_an_area_is_seeded_and_holds_it():
    present, absent = np.arange(40) % 17, np.arange(40) % 11
    low, high = roc_auc_interval(present, absent, seed=3)

    assert 0 <= low < roc_auc(present, absent) < high <= 1
    assert (low, high) == roc_auc_interval(present, absent, seed=3)


def test_interval_of_an_area_narrows_with_more_queries():
    few, many = (roc_auc_interval(np.arange(n) % 17, np.arange(n) % 11) for n in (30, 600))

    assert many[1] - many[0] < few[1] - few[0]


def test_the_interval_of_a_perfect_area_is_a_point():
    assert roc_auc_interval([2, 3], [0, 1]) == (1, 1)


def test_median_and_p95_of_times():
    assert median([1, 9, 2]) == 2
    assert p95(np.arange(101)) == pytest.approx(95)
