"""The dual-stream OPT with regions gives the numbers of an independent forward pass (tests/support/numpy_regions.py).

The number of regions, the padding and the batch change nothing.
"""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from encoder import open_encoder
from encoder.config import PRESETS
from encoder.errors import NoAttention
from encoder.inputs.regions import Regions, rows_of
from encoder.network import opt, region_stream
from encoder.runtime.encoder import OptEncoder
from tests.support.masks import mask_nothing
from tests.support.numpy_regions import NumpyRegions
from tests.support.published_single_stream import detections
from tests.support.runtimes import counting_shapes
from tests.support.small_models import SMALL, WORDS, random_weights, write_small_model

VECTORS, LOGITS = 1e-4, 1e-3
SMALL_REGIONS = dataclasses.replace(PRESETS["opt-zoo"], **SMALL, name="opt-zoo-small", regions=40, region_width=20)
SENTENCES = ["狗", "a dog on the beach", "the red car 红 色 猫", "a cat on the beach " * 5]
COUNTS = [1, 5, 12, 13, 36, 40]


@dataclass(frozen=True, eq=False)
class Expected:
    """The reference's numbers for SENTENCES, and for photos with COUNTS regions."""

    rows: np.ndarray
    text_vectors: np.ndarray
    image_vectors: np.ndarray
    tokens: np.ndarray
    logits: np.ndarray


def rows(count: int) -> np.ndarray:
    """Make the rows of a photo with `count` regions, as the network reads them."""
    found = detections(count, SMALL_REGIONS.region_width)
    return rows_of(Regions(found["feat"], found["pred_boxes"], 640, 480), SMALL_REGIONS.regions)


@pytest.fixture(scope="module")
def weights():
    """Random weights. Matrices are rounded to float16, as a model folder stores them."""
    return {
        name: value.astype(np.float16).astype(np.float32) if value.ndim > 1 else value
        for name, value in random_weights(SMALL_REGIONS).items()
    }


@pytest.fixture(scope="module")
def expected(weights) -> Expected:
    c = SMALL_REGIONS
    reference = NumpyRegions(weights, c.text_layers, c.image_layers, c.fusion_layers, c.text_heads)
    found = [detections(count, c.region_width) for count in COUNTS]
    tokens = [reference.image_tokens(one["feat"], one["pred_boxes"], 640, 480) for one in found]
    words = [[word for part in sentence.split() for word in ([part] if part.isascii() else part)] for sentence in SENTENCES]
    states = [reference.text_states([2, *map(WORDS.index, said), 3]) for said in words]
    kept = [one.astype(np.float16).astype(np.float64) for one in tokens]
    padded = np.stack([np.pad(one, ((0, 1 + c.regions - len(one)), (0, 0))) for one in kept])
    return Expected(
        np.stack([rows(count) for count in COUNTS]),
        np.stack([reference.text_vector(one) for one in states]),
        np.stack([reference.image_vector(one) for one in tokens]),
        padded.astype(np.float16),
        np.array([[reference.match_logit(one, image) for image in kept] for one in states]),
    )


def encoder_of(folder: Path, weights: dict[str, np.ndarray]) -> OptEncoder:
    return open_encoder(write_small_model(folder, SMALL_REGIONS, weights=weights))


@pytest.fixture(scope="module")
def model(tmp_path_factory, weights):
    return write_small_model(tmp_path_factory.mktemp("model"), SMALL_REGIONS, weights=weights)


def errors(encoder: OptEncoder, expected: Expected) -> dict[str, float]:
    """The largest error in vectors and in logits."""
    texts, images = encoder.encode_texts(SENTENCES), encoder.encode_images(expected.rows)
    logits = np.stack([encoder.match(texts, expected.tokens[i : i + 1]) for i in range(len(COUNTS))], 1)
    return {
        "text": np.abs(texts.vectors - expected.text_vectors).max(),
        "image": np.abs(images.vectors - expected.image_vectors).max(),
        "logit": np.abs(logits - expected.logits).max(),
    }


def test_vectors_and_logits_are_those_of_the_reference(encoder, expected):
    found = errors(encoder, expected)
    assert found["text"] < VECTORS and found["image"] < VECTORS and found["logit"] < LOGITS
    assert np.ptp(expected.logits) > 100 * LOGITS  # there is something to agree on


def test_tokens_of_missing_regions_are_zeros(encoder, expected):
    kept = encoder.encode_images(expected.rows).tokens
    np.testing.assert_allclose(kept, expected.tokens.astype(np.float32), rtol=2e-3, atol=5e-4)
    assert ((kept != 0).any(2).sum(1) == np.array(COUNTS) + 1).all()


@pytest.mark.parametrize("place", range(len(COUNTS)))
def test_neither_padding_nor_batch_nor_bucket_changes_an_image(encoder, expected, place):
    alone = encoder.encode_images(expected.rows[place : place + 1])
    for others in (expected.rows[:1], expected.rows[-1:], np.repeat(expected.rows, 3, 0)):
        together = encoder.encode_images(np.concatenate([others, expected.rows[place : place + 1], others]))
        np.testing.assert_allclose(together.vectors[len(others)], alone.vectors[0], atol=VECTORS)
        np.testing.assert_allclose(together.tokens[len(others)], alone.tokens[0], atol=2e-3)
    texts = encoder.encode_texts(SENTENCES)
    one_by_one = encoder.match(texts, expected.tokens[place : place + 1])
    np.testing.assert_allclose(one_by_one, expected.logits[:, place], atol=LOGITS)
    for row in range(len(SENTENCES)):
        text = encoder.encode_texts([SENTENCES[row]])
        np.testing.assert_allclose(encoder.match(text, expected.tokens)[place], expected.logits[row, place], atol=LOGITS)


def test_the_order_of_regions_changes_no_vector(encoder, expected):
    reversed_rows = expected.rows.copy()
    reversed_rows[-1] = expected.rows[-1, ::-1]
    np.testing.assert_allclose(encoder.encode_images(reversed_rows).vectors, expected.image_vectors, atol=VECTORS)


def test_after_warm_up_no_number_of_regions_compiles_anything(model, expected):
    encoder = counting_shapes(model)
    encoder.warm_up()
    compiled = encoder.graphs.compiled
    for sentence in SENTENCES:
        for place in range(len(COUNTS)):
            tokens = encoder.encode_images(expected.rows[place : place + 1]).tokens
            for pairs in (1, 20):
                encoder.match(encoder.encode_texts([sentence]), np.repeat(tokens, pairs, 0))
    assert encoder.graphs.compiled == compiled


def test_concurrent_pairs_with_different_numbers_of_regions_get_the_logits_they_get_alone(encoder, expected):
    texts = [encoder.encode_texts([sentence]) for sentence in SENTENCES]
    pairs = [(row, place) for row in range(len(SENTENCES)) for place in range(len(COUNTS))]
    with ThreadPoolExecutor(16) as pool:
        got = list(pool.map(lambda one: encoder.match(texts[one[0]], expected.tokens[one[1] : one[1] + 1])[0], pairs))
    np.testing.assert_allclose(got, [expected.logits[one] for one in pairs], atol=LOGITS)


def test_attention_to_regions_cannot_be_explained(encoder, expected):
    with pytest.raises(NoAttention, match="opt-zoo-small"):
        encoder.explain(encoder.encode_texts(["a dog"]), expected.tokens)


@pytest.mark.parametrize(
    "name",
    [
        "uniter.img_embeddings.encoder.blocks.1.attention.projection.weight",
        "uniter.encoder.decoder.blocks.0.cross_attention.projection.weight",
    ],
)
def test_a_transposed_projection_would_be_noticed(weights, expected, tmp_path, name):
    found = errors(encoder_of(tmp_path, weights | {name: weights[name].T.copy()}), expected)
    assert found["logit"] > 10 * LOGITS or found["image"] > 10 * VECTORS


@pytest.mark.long
def test_regions_that_are_not_masked_would_be_noticed(mindspore, weights, expected, tmp_path, monkeypatch):
    monkeypatch.setattr(opt, "padding_bias", mask_nothing)
    assert errors(encoder_of(tmp_path / "fusion", weights), expected)["logit"] > 10 * LOGITS
    monkeypatch.setattr(region_stream, "MASKED", 0.0)
    assert errors(encoder_of(tmp_path / "stream", weights), expected)["image"] > 10 * VECTORS


def test_swapped_layer_norms_would_be_noticed(weights, expected, tmp_path):
    one, other = "uniter.img_embeddings.pos_layer_norm.gamma", "uniter.img_embeddings.img_layer_norm.gamma"
    swapped = weights | {one: weights[other], other: weights[one]}
    assert errors(encoder_of(tmp_path, swapped), expected)["image"] > 10 * VECTORS
