"""Matrices in 8 bits: close to what they were, and no further from it when packed again."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from encoder.compact import STEPS, pack, unpack

MATRICES = arrays(np.float32, array_shapes(min_dims=2, max_dims=4, max_side=5),
                  elements=st.floats(-100, 100, width=32, allow_subnormal=False))


@given(MATRICES)
def test_nothing_moves_by_more_than_half_a_step_of_its_row(values):
    step = np.abs(values).reshape(len(values), -1).max(1) / STEPS
    moved = np.abs(unpack(*pack(values)) - values).reshape(len(values), -1).max(1)
    assert (moved <= 0.5001 * step + 1e-30).all()


@given(MATRICES)
def test_packing_again_changes_nothing(values):
    codes, scales = pack(values)
    again, same_scales = pack(unpack(codes, scales))
    np.testing.assert_array_equal(again, codes)
    np.testing.assert_allclose(same_scales, scales, rtol=1e-6)


def test_a_row_of_zeros_stays_zero():
    np.testing.assert_array_equal(unpack(*pack(np.zeros((2, 3), np.float32))), np.zeros((2, 3)))
