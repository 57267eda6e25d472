"""The pieces that all parts of OPT are made of, where ours differ from MindSpore's own."""

from __future__ import annotations

import numpy as np
from mindspore import Tensor

from encoder.network.blocks import TransposedLinear


def test_a_turned_weight_gives_the_same_products():
    generator = np.random.default_rng(0)
    layer, x = TransposedLinear(12, 20), Tensor(generator.standard_normal((3, 5, 12)).astype(np.float32))
    layer.weight.set_data(Tensor(generator.standard_normal((12, 20)).astype(np.float32)))
    before = layer(x).asnumpy()

    layer.turn()

    assert layer.weight.shape == (20, 12)
    np.testing.assert_allclose(layer(x).asnumpy(), before, rtol=1e-5, atol=1e-5)
