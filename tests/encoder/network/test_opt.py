"""OptModel has the published names and shapes, and gives the numbers of an independent forward pass in numpy."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest
from mindspore import Tensor
from mindspore.nn.utils import no_init_parameters

from encoder.config import PRESETS, OptConfig, config_from_json
from encoder.network.opt import OptModel
from encoder.runtime.device import use_device
from tests.support.numpy_opt import NumpyOpt
from tests.support.small_models import SMALL_MINI, SMALL_V2, random_weights

PUBLISHED = Path(__file__).parents[2] / "data" / "v2_base_parameters.tsv"


@pytest.fixture(autouse=True, scope="module")
def graph_mode():
    use_device()


def loaded(config: OptConfig, weights: dict[str, np.ndarray]) -> OptModel:
    model = OptModel(config)
    for name, parameter in model.parameters_and_names():
        parameter.set_data(Tensor(weights[name]))
    return model.set_train(False)


def shapes_of(config: OptConfig) -> dict[str, tuple[int, ...]]:
    """Name every parameter and its shape, without drawing numbers for it."""
    with no_init_parameters():
        return {name: tuple(p.shape) for name, p in OptModel(config).parameters_and_names()}


def test_opt_v2_base_has_the_published_names_and_shapes():
    rows = (line.split("\t") for line in PUBLISHED.read_text().splitlines())
    published = {name: tuple(ast.literal_eval(shape)) for name, shape in rows}
    ours = shapes_of(PRESETS["opt-v2-base"])
    assert len(published) == 486
    assert ours == published


def test_opt_mini_is_the_same_network_with_a_few_parameters_more():
    v2, mini = (shapes_of(PRESETS[name]).keys() for name in ("opt-v2-base", "opt-mini"))
    new = {name.removeprefix("uniter.img_embeddings.").split(".layers")[0] for name in mini - v2}
    assert {name for name in new if not name.startswith("conv.")} == {"adapter", "vit.register_tokens", "vit.patch_embed.bias"}
    assert sum(name.startswith("uniter.img_embeddings.conv.") for name in mini) == len(new) - 3


@pytest.mark.usefixtures("step_by_step")
@pytest.mark.parametrize("config", [SMALL_V2, SMALL_MINI], ids=lambda c: c.name)
def test_forward_equals_plain_numpy(config):
    weights = random_weights(config, seed=3)
    model, reference = loaded(config, weights), NumpyOpt(config, weights)
    rng = np.random.default_rng(1)
    ids = [2, 5, 7, 9, 3]
    pixels = rng.integers(0, 256, (config.image_size, config.image_size, 3))
    padded = np.array([ids + [0] * 7], np.int32)

    text, image, logits = model(Tensor(padded), Tensor(pixels[None].transpose(0, 3, 1, 2).astype(np.float32)))

    states, tokens = reference.text_states(ids), reference.image_tokens(pixels)
    np.testing.assert_allclose(text.asnumpy()[0], reference.text_vector(states), atol=3e-5)
    np.testing.assert_allclose(image.asnumpy()[0], reference.image_vector(tokens), atol=3e-5)
    assert logits.asnumpy()[0, 1] == pytest.approx(reference.match_logit(states, tokens), abs=3e-4)


@pytest.mark.usefixtures("step_by_step")
@pytest.mark.parametrize("config", [SMALL_V2, SMALL_MINI], ids=lambda c: c.name)
def test_cross_attention_weights_equal_plain_numpy(config):
    weights = random_weights(config, seed=4)
    model, reference = loaded(config, weights), NumpyOpt(config, weights)
    ids, tokens = [2, 5, 7, 9, 3], np.random.default_rng(2).normal(0, 1, config.token_shape)
    padded = Tensor(np.array([ids + [0] * 3], np.int32))

    found = model.match_attention(model.text_states(padded), padded, Tensor(tokens[None].astype(np.float32))).asnumpy()[0]

    expected = reference.match_attention(reference.text_states(ids), tokens)
    assert found.shape == (config.fusion_layers, 8, config.token_shape[0]) and np.ptp(expected) > 0.1
    np.testing.assert_allclose(found[:, :5], expected, atol=1e-5)
    np.testing.assert_allclose(found.sum(-1), 1, atol=1e-5)


@pytest.mark.usefixtures("step_by_step")
def test_trunk_and_tail_together_are_the_vit_and_squares_can_be_left_out():
    images = loaded(SMALL_MINI, random_weights(SMALL_MINI)).uniter.img_embeddings
    pixels = Tensor(np.random.default_rng(2).integers(0, 256, (1, 3, 56, 56)).astype(np.float32))
    whole = images.tail(images.trunk(pixels, 0), 0).asnumpy()
    trunk = images.trunk(pixels, 1)
    np.testing.assert_allclose(images.tail(trunk, 1).asnumpy(), whole, atol=1e-4)
    skip, square = 1 + SMALL_MINI.registers, SMALL_MINI.merge**2
    half = np.concatenate([trunk.asnumpy()[:, :skip], trunk.asnumpy()[:, skip : skip + 2 * square]], 1)
    assert images.tail(Tensor(half), 1).shape == (1, 3, SMALL_MINI.hidden_size)


@pytest.mark.usefixtures("step_by_step")
def test_the_pairs_of_a_group_get_the_logits_that_they_get_one_by_one():
    model = loaded(SMALL_MINI, random_weights(SMALL_MINI, seed=5))
    rng = np.random.default_rng(6)
    ids = np.array([[2, 5, 3, 0], [2, 7, 8, 3], [2, 4, 3, 0], [2, 9, 6, 3]], np.int32)
    tokens = rng.normal(0, 1, (4, *SMALL_MINI.token_shape)).astype(np.float32)
    states = model.text_states(Tensor(ids))
    logits = model.group_logits(states, Tensor(ids), Tensor(tokens), 2).asnumpy()
    for text in range(4):
        for place in range(2):
            image = text // 2 * 2 + place
            pair = model.match_logits(states[text : text + 1], Tensor(ids[text : text + 1]), Tensor(tokens[image : image + 1]))
            np.testing.assert_allclose(logits[text, place], pair.asnumpy()[0], atol=1e-4)


@pytest.mark.usefixtures("step_by_step")
@pytest.mark.parametrize("few", [1, 3, 9])
def test_folded_attention_gives_the_same_numbers(few):
    attention = loaded(SMALL_MINI, random_weights(SMALL_MINI, seed=7)).uniter.encoder.decoder.blocks[0].cross_attention
    rng = np.random.default_rng(8)
    x, memory = (Tensor(rng.normal(0, 1, (2, n, SMALL_MINI.hidden_size)).astype(np.float32)) for n in (few, 7))
    expected = attention(x, memory, Tensor(0.0)).asnumpy()
    np.testing.assert_allclose(attention.folded(x, memory).asnumpy(), expected, atol=1e-4)
    assert np.ptp(expected) > 0.1


def test_attention_is_folded_for_few_tokens_and_a_long_memory():
    attention = OptModel(SMALL_MINI).uniter.encoder.decoder.blocks[0].cross_attention
    few, many = np.zeros((1, 1, 32), np.float32), np.zeros((1, 50, 32), np.float32)
    assert attention.is_cheaper_folded(few, many) and not attention.is_cheaper_folded(many, many)


@pytest.mark.usefixtures("step_by_step")
def test_padding_changes_no_text_vector():
    model = loaded(SMALL_MINI, random_weights(SMALL_MINI))
    short = model.text_vectors(model.text_states(Tensor(np.array([[2, 5, 3]], np.int32)))).asnumpy()
    long = model.text_vectors(model.text_states(Tensor(np.array([[2, 5, 3] + [0] * 20], np.int32)))).asnumpy()
    np.testing.assert_allclose(short, long, atol=1e-6)


def test_config_survives_json():
    for config in PRESETS.values():
        assert config_from_json(config.to_json()) == config


def test_opt_mini_keeps_few_and_small_image_tokens():
    length, width = PRESETS["opt-mini"].token_shape
    assert length <= 64
    assert length * width * 2 <= 50_000
