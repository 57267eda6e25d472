"""The network: published names and shapes, and numbers that equal an independent forward pass."""

import ast
from pathlib import Path

import numpy as np
import pytest
from mindspore import Tensor

from encoder.config import PRESETS, OptConfig
from encoder.device import use_device
from encoder.network import OptModel
from tests.numpy_opt import NumpyOpt
from tests.small_models import SMALL_MINI, SMALL_V2, random_weights

PUBLISHED = Path(__file__).parent / "data" / "v2_base_parameters.tsv"


@pytest.fixture(autouse=True, scope="module")
def graph_mode():
    use_device()


def loaded(config: OptConfig, weights: dict[str, np.ndarray]) -> OptModel:
    model = OptModel(config)
    for name, parameter in model.parameters_and_names():
        parameter.set_data(Tensor(weights[name]))
    return model.set_train(False)


def test_opt_v2_base_has_the_published_names_and_shapes():
    rows = (line.split("\t") for line in PUBLISHED.read_text().splitlines())
    published = {name: tuple(ast.literal_eval(shape)) for name, shape in rows}
    ours = {name: tuple(p.shape) for name, p in OptModel(PRESETS["opt-v2-base"]).parameters_and_names()}
    assert len(published) == 486
    assert ours == published


def test_opt_mini_is_the_same_network_with_a_few_parameters_more():
    v2 = {name for name, _ in OptModel(PRESETS["opt-v2-base"]).parameters_and_names()}
    mini = {name for name, _ in OptModel(PRESETS["opt-mini"]).parameters_and_names()}
    new = {name.removeprefix("uniter.img_embeddings.").split(".layers")[0] for name in mini - v2}
    assert new == {"adapter", "vit.register_tokens", "vit.patch_embed.bias"}


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


def test_padding_changes_nothing():
    model = loaded(SMALL_MINI, random_weights(SMALL_MINI))
    short = model.text_vectors(model.text_states(Tensor(np.array([[2, 5, 3]], np.int32)))).asnumpy()
    long = model.text_vectors(model.text_states(Tensor(np.array([[2, 5, 3] + [0] * 20], np.int32)))).asnumpy()
    np.testing.assert_allclose(short, long, atol=1e-6)


def test_config_survives_json():
    for config in PRESETS.values():
        assert OptConfig.from_json(config.to_json()) == config


def test_opt_mini_keeps_few_and_small_image_tokens():
    length, width = PRESETS["opt-mini"].token_shape
    assert length <= 64
    assert length * width * 2 <= 50_000
