from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from search.errors import TermsCancelOut
from search.query.vector_sum import combine_vectors

EAST, NORTH = np.eye(2, dtype=np.float32)
VECTORS = arrays(np.float32, (3, 4), elements=st.floats(-1, 1, width=32)).filter(
    lambda rows: (np.linalg.norm(rows, axis=1) > 0.1).all()
)


def test_a_single_vector_is_returned_unchanged():
    vector = np.array([[0.6, 0.8]], np.float32)
    assert combine_vectors(vector, [3.0]) is not None and (combine_vectors(vector, [3.0]) == vector[0]).all()


def test_vectors_are_added_with_weights_and_signs():
    assert combine_vectors([EAST, NORTH], [1, 1]) == pytest.approx([0.5**0.5, 0.5**0.5])
    assert combine_vectors([EAST, NORTH], [4, 3]) == pytest.approx([0.8, 0.6])
    assert combine_vectors([EAST, NORTH], [1, -1]) == pytest.approx([0.5**0.5, -(0.5**0.5)])


def test_terms_that_cancel_out_are_refused():
    with pytest.raises(TermsCancelOut, match="cancel each other out"):
        combine_vectors([EAST, EAST], [2, -2])


@given(VECTORS, st.lists(st.floats(0.1, 9), min_size=3, max_size=3))
def test_the_nearest_vector_has_the_greatest_weighted_sum_of_cosines(vectors, weights):
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    weights[2] = -weights[2]
    try:
        blended = combine_vectors(units, weights)
    except TermsCancelOut:
        return
    others = np.random.default_rng(0).standard_normal((20, 4))
    assert np.linalg.norm(blended) == pytest.approx(1, abs=1e-5)
    sums = np.array(weights) @ (units @ others.T)
    ratio = np.linalg.norm(np.array(weights) @ units.astype(np.float64))
    assert blended @ others.T * ratio == pytest.approx(sums, abs=1e-4)
