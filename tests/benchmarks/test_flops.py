"""Tests of the operation counts, against published figures of the same networks and against the number of parameters."""

from __future__ import annotations

import dataclasses

import pytest

from benchmarks import flops
from encoder.config import PRESETS
from encoder.importing.published import v2_shapes

MINI, BASE = PRESETS["opt-mini"], PRESETS["opt-v2-base"]


def test_the_image_stream_of_opt_v2_base_costs_as_much_as_vit_b_16():
    assert flops.image(BASE) / 2 == pytest.approx(17.58e9, rel=0.005)  # multiply-adds at 224 x 224 (timm)


def test_the_convolutional_backbone_costs_as_much_as_efficientnet_b3():
    at_300 = dataclasses.replace(MINI, image_size=300)
    assert flops.efficientnet(at_300) / 2 == pytest.approx(1.83e9, rel=0.02)  # multiply-adds at 300 x 300 (torchvision)


@pytest.mark.parametrize("length", [1, 8, 50])
def test_a_sentence_costs_two_operations_per_weight_and_token_and_its_attention(length):
    weights = sum(
        shape[0] * shape[1]
        for name, shape in v2_shapes(BASE).items()
        if name.startswith("uniter.embeddings.encoder.") and len(shape) == 2
    )
    attention = BASE.text_layers * 4 * length**2 * BASE.hidden_size
    assert flops.text(BASE, length) == 2 * length * weights + attention + 2 * BASE.hidden_size * BASE.dim


def test_the_last_block_of_a_pair_computes_the_first_token_only():
    one_block = dataclasses.replace(BASE, fusion_layers=1)
    two_blocks = dataclasses.replace(BASE, fusion_layers=2)
    width, inner, seen, length = BASE.hidden_size, BASE.fusion_intermediate, BASE.token_shape[0], 10
    both = 2 * 2 * (length + seen) * width**2  # keys and values of text and image
    head = 2 * width * BASE.itm_hidden + 2 * BASE.itm_hidden * 2

    def rest(read: int) -> int:
        return read * (2 * 4 * width**2 + 2 * 2 * width * inner + 4 * (length + seen) * width)

    assert flops.pair(one_block, length) == both + rest(1) + head
    assert flops.pair(two_blocks, length) == 2 * both + rest(length) + rest(1) + head
