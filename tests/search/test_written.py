"""A caption that is written on demand, among captions that are stored."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.retrieval.calibration import match_probabilities
from search.written import among_hits

CALIBRATION = (1.5, -0.5, 0.25)
SCORES = st.lists(st.tuples(st.floats(-3, 3), st.floats(-1, 1)), min_size=1, max_size=6)


def found(pairs, weight):
    """Hits as the engine gives them: best fit first, with the match probability of each."""
    pairs = sorted(pairs, key=lambda pair: -(pair[0] + weight * pair[1]))
    chances = match_probabilities([logit + weight * score for logit, score in pairs], CALIBRATION)
    return [
        {"text": str(i), "match_logit": logit, "first_stage_score": score, "match_probability": float(chance)}
        for i, ((logit, score), chance) in enumerate(zip(pairs, chances, strict=True))
    ]


@given(SCORES, st.floats(-3, 3), st.floats(-1, 1))
def test_the_written_one_stands_where_it_fits_with_the_chance_it_would_have(pairs, logit, score):
    hits = found(pairs, 0.7)
    mixed = among_hits(hits, {"text": "new"}, score, logit, 0.7, CALIBRATION)
    assert [hit for hit in mixed if hit["text"] != "new"] == hits
    fits = [hit["match_logit"] + 0.7 * hit["first_stage_score"] for hit in mixed]
    chances = [hit["match_probability"] for hit in mixed]
    assert fits == sorted(fits, reverse=True)
    assert all(a >= b - 1e-9 for a, b in zip(chances, chances[1:], strict=False))


def test_without_calibration_or_hits_it_has_no_chance():
    (alone,) = among_hits([], {"text": "new"}, 0.5, 1.0, 0.7, CALIBRATION)
    assert alone == {"text": "new", "first_stage_score": 0.5, "match_logit": 1.0, "match_probability": None}
    hit = {"text": "old", "match_logit": None, "first_stage_score": 0.9, "match_probability": None}
    mixed = among_hits([hit], {"text": "new"}, 0.5, 1.0, 0.7, None)
    assert [one["text"] for one in mixed] == ["new", "old"] and mixed[0]["match_probability"] is None


def test_equal_captions_get_equal_chances():
    mixed = among_hits(found([(1.0, 0.2), (0.0, 0.1)], 0.7), {"text": "new"}, 0.2, 1.0, 0.7, CALIBRATION)
    assert mixed[1]["text"] == "new" and mixed[1]["match_probability"] == pytest.approx(mixed[0]["match_probability"])
