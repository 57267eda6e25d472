"""Rounding to 8 bits moves numbers by half a step at most, and a second rounding changes nothing."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from encoder.quantization import STEPS, dequantize, dequantize_tokens, quantize, quantize_tokens

MATRICES = arrays(
    np.float32, array_shapes(min_dims=2, max_dims=4, max_side=5), elements=st.floats(-100, 100, width=32, allow_subnormal=False)
)


@given(MATRICES)
def test_no_number_moves_by_more_than_half_a_step_of_its_row(values):
    step = np.abs(values).reshape(len(values), -1).max(1) / STEPS
    moved = np.abs(dequantize(*quantize(values)) - values).reshape(len(values), -1).max(1)
    assert (moved <= 0.5001 * step + 1e-30).all()


@given(MATRICES)
def test_quantizing_again_changes_nothing(values):
    codes, scales = quantize(values)
    again, same_scales = quantize(dequantize(codes, scales))
    np.testing.assert_array_equal(again, codes)
    np.testing.assert_allclose(same_scales, scales, rtol=1e-6)


def test_a_row_of_zeros_stays_zero():
    np.testing.assert_array_equal(dequantize(*quantize(np.zeros((2, 3), np.float32))), np.zeros((2, 3)))


TOKENS = arrays(
    np.float16,
    array_shapes(min_dims=3, max_dims=3, max_side=5).map(lambda s: (s[0], s[1], 2 * s[2])),
    elements=st.floats(-1000, 1000, width=16),
)


@given(TOKENS)
def test_tokens_take_half_the_bytes_and_move_by_little_more_than_half_a_step(tokens):
    quantized = quantize_tokens(tokens)
    assert quantized.dtype == np.float16 and quantized.shape == (*tokens.shape[:2], tokens.shape[2] // 2 + 1)
    step = np.abs(tokens).astype(np.float32).max(2, keepdims=True) / STEPS
    assert (np.abs(dequantize_tokens(quantized) - tokens) <= 0.57 * step + 1e-5).all()


@given(TOKENS)
def test_quantized_tokens_survive_a_file_bit_by_bit(tokens):
    quantized = quantize_tokens(tokens)
    copied = np.frombuffer(quantized.tobytes(), np.float16).reshape(quantized.shape)
    np.testing.assert_array_equal(dequantize_tokens(copied), dequantize_tokens(quantized))
