"""The pieces that all parts of OPT are made of, where ours differ from MindSpore's own."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from mindspore import Tensor

from encoder.blocks import ErfGelu, TransposedLinear

LENGTH = 64
gelu = ErfGelu()


@given(st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=LENGTH))
def test_gelu_is_x_times_the_share_of_the_normal_distribution_below_it(numbers):
    x = np.zeros(LENGTH, np.float32)
    x[: len(numbers)] = numbers

    exact = [v * 0.5 * math.erfc(-v / math.sqrt(2)) for v in x.astype(np.float64)]

    np.testing.assert_allclose(gelu(Tensor(x)).asnumpy(), exact, rtol=1e-6, atol=5e-6)


def test_gelu_of_what_no_float_can_square_is_no_nan():
    assert gelu(Tensor(np.array([-3e38, 3e38], np.float32))).asnumpy().tolist() == [0, np.float32(3e38)]


def test_a_turned_weight_gives_the_same_products():
    generator = np.random.default_rng(0)
    layer, x = TransposedLinear(12, 20), Tensor(generator.standard_normal((3, 5, 12)).astype(np.float32))
    layer.weight.set_data(Tensor(generator.standard_normal((12, 20)).astype(np.float32)))
    before = layer(x).asnumpy()

    layer.turn()

    assert layer.weight.shape == (20, 12)
    np.testing.assert_allclose(layer(x).asnumpy(), before, rtol=1e-5, atol=1e-5)
