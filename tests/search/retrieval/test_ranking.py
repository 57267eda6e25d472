from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from search.retrieval.ranking import CrossEncoderScores, best_first, first_stage_ranking, fit_scores, rerank_head

few_scores = st.sampled_from([-1.0, -0.25, 0.0, 0.5, 0.75, 1.0])  # few, so that ties are common


def scored(logits, hub_costs=None) -> CrossEncoderScores:
    logits = np.asarray(logits, np.float32)
    return CrossEncoderScores(logits, np.zeros(len(logits)) if hub_costs is None else np.asarray(hub_costs))


@st.composite
def first_stages(draw):
    scores = draw(hnp.arrays(np.float32, st.integers(1, 30), elements=few_scores.map(float)))
    ids = draw(st.permutations(range(len(scores))))
    return first_stage_ranking(np.array(ids), scores)


def test_best_first_orders_equal_scores_by_id():
    assert best_first(np.array([0.5, 0.9, 0.5]), np.array([8, 3, 2])).tolist() == [1, 2, 0]


def test_first_stage_drops_missing_results_and_the_photo_itself():
    ranking = first_stage_ranking(np.array([4, 7, 5, -1]), np.array([1.0, 0.9, 0.8, -np.inf]), leave_out=4)

    assert ranking.ids.tolist() == [7, 5]
    assert ranking.first_stage_ranks.tolist() == [1, 2]
    assert np.isnan(ranking.match_logits).all()


def test_scored_candidates_are_ordered_by_logit_and_weighted_similarity():
    first = first_stage_ranking(np.array([1, 2, 3]), np.array([0.9, 0.8, 0.7]))

    ranking = rerank_head(first, scored([-1.0, 2.0, 0.5]), weight=10)

    assert ranking.ids.tolist() == [2, 1, 3]
    assert ranking.scores.tolist() == pytest.approx([10.0, 8.0, 7.5])
    assert ranking.first_stage_ranks.tolist() == [2, 1, 3]
    assert ranking.match_logits.tolist() == [2.0, -1.0, 0.5]


def test_unscored_candidates_stay_below_however_low_the_logits():
    first = first_stage_ranking(np.array([1, 2, 3, 4]), np.array([0.9, 0.8, 0.7, 0.5]))

    ranking = rerank_head(first, scored([-50.0, -40.0]), weight=1)

    assert ranking.ids.tolist() == [2, 1, 3, 4]
    assert ranking.scores.tolist() == pytest.approx([-39.2, -49.1, -49.2, -49.4])
    assert np.isnan(ranking.match_logits[2:]).all()


def test_no_logits_change_nothing():
    first = first_stage_ranking(np.array([1, 2]), np.array([0.9, 0.8]))

    assert rerank_head(first, scored([]), weight=1) is first


def test_more_logits_than_candidates_are_refused():
    with pytest.raises(ValueError, match="3 match logits for a ranking of 1"):
        rerank_head(first_stage_ranking(np.array([1]), np.array([0.9])), scored([0, 0, 0]), weight=1)


def test_a_page_past_the_end_is_empty():
    first = first_stage_ranking(np.array([1, 2, 3]), np.array([0.9, 0.8, 0.7]))

    assert first.page(1, 5).ids.tolist() == [2, 3]
    assert len(first.page(3, 5)) == 0


@given(first_stages(), st.data())
def test_reranking_keeps_its_invariants(first, data):
    size = data.draw(st.integers(0, len(first)))
    logits = data.draw(hnp.arrays(np.float32, size, elements=st.floats(-100, 100, width=32)))
    weight = data.draw(st.sampled_from([0.0, 1.0, 20.0]))

    ranking = rerank_head(first, scored(logits), weight)

    assert set(ranking.ids[:size]) == set(first.ids[:size])
    assert ranking.ids[size:].tolist() == first.ids[size:].tolist()
    assert (np.diff(ranking.scores) <= 0).all()
    ties = np.flatnonzero(np.diff(ranking.scores[:size]) == 0)
    assert (ranking.ids[ties] < ranking.ids[ties + 1]).all()
    for i, candidate in enumerate(ranking.ids):
        before = np.flatnonzero(first.ids == candidate)[0]
        assert ranking.first_stage_ranks[i] == before + 1
        assert ranking.first_stage_scores[i] == first.first_stage_scores[before]


@given(first_stages())
def test_a_constant_logit_leaves_the_first_stage_order(first):
    assert rerank_head(first, scored(np.full(len(first), 3.25)), weight=1).ids.tolist() == first.ids.tolist()


def test_hub_costs_lower_the_scores_but_not_the_fit_scores():
    first = first_stage_ranking(np.array([1, 2, 3]), np.array([0.9, 0.8, 0.7]))

    ranking = rerank_head(first, scored([0.0, 0.0], [0.3, 0.1]), weight=10)

    assert ranking.ids.tolist() == [2, 1, 3]
    assert ranking.scores.tolist() == pytest.approx([7.0, 6.0, 5.9])
    assert fit_scores(ranking, 10).tolist() == pytest.approx([8.0, 9.0])
    assert ranking.rerank_ranks[:2].tolist() == [1, 2] and ranking.rerank_scores[:2].tolist() == ranking.scores[:2].tolist()
    assert dict(zip(ranking.ids[:2].tolist(), ranking.hub_costs[:2].tolist(), strict=True)) == {1: 0.3, 2: 0.1}
    assert np.isnan([ranking.rerank_ranks[2], ranking.rerank_scores[2], ranking.hub_costs[2]]).all()
