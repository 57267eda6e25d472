"""An imported V2 checkpoint gives the numbers of an independent forward pass (tests/support/numpy_opt.py).

The reference reads the weights as they were before they went into the `.ckpt`. That the comparison would notice the mistakes
that don't raise an error is shown by making them: a transpose, a tied name, a row of the mask.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import mindspore as ms
import numpy as np
import pytest
from mindspore import ops

from encoder import open_encoder
from encoder.errors import UnusableForm
from encoder.importing import published
from encoder.importing.importer import Plan, compacted, import_model
from encoder.network.blocks import MASKED
from encoder.network.opt import OptModel
from encoder.quantization import dequantize_tokens
from encoder.registry import ModelRegistry
from tests.support.numpy_opt import NumpyOpt
from tests.support.published_models import PIECES, SMALL_PUBLISHED, published_weights, write_published
from tests.support.runtimes import WAYS, encoder_by, open_with, operator_by_operator
from tests.support.small_models import add_graphs

VECTORS, LOGITS = 1e-4, 1e-3
SENTENCES = ["狗", "一只红色的狗在跑", "海边的人和蓝天", "a dog 在草地", "雪" * 17, "红色汽车" * 7, "蓝天绿草地" * 20]
TABLE = "uniter.embeddings.word_embeddings.embedding_table"
PROJECTIONS = (
    "uniter.embeddings.encoder.blocks.1.attention.projection.weight",
    "uniter.encoder.decoder.blocks.0.attention.projection.weight",
    "uniter.encoder.decoder.blocks.1.cross_attention.projection.weight",
)


@dataclass(frozen=True)
class Expected:
    """The reference's numbers of SENTENCES and of photos."""

    pixels: np.ndarray
    text_vectors: np.ndarray
    image_vectors: np.ndarray
    tokens: np.ndarray
    logits: np.ndarray


def ids_of(sentence: str) -> list[int]:
    """[CLS] + pieces[:48] + [SEP], for sentences whose words are pieces or Chinese."""
    words = [word for part in sentence.split() for word in ([part] if part.isascii() else part)]
    pieces = [PIECES.index(word) if word in PIECES else PIECES.index("[UNK]") for word in words]
    return [PIECES.index("[CLS]"), *pieces[:48], PIECES.index("[SEP]")]


@pytest.fixture(scope="module")
def expected() -> Expected:
    reference = NumpyOpt(SMALL_PUBLISHED, published_weights())
    size = SMALL_PUBLISHED.image_size
    pixels = np.random.default_rng(3).integers(0, 256, (4, size, size, 3)).astype(np.uint8)
    states = [reference.text_states(ids_of(sentence)) for sentence in SENTENCES]
    tokens = [reference.image_tokens(one) for one in pixels]
    kept = np.stack(tokens).astype(np.float16)
    return Expected(
        pixels,
        np.stack([reference.text_vector(one) for one in states]),
        np.stack([reference.image_vector(one) for one in tokens]),
        kept,
        np.array([[reference.match_logit(one, image.astype(np.float64)) for image in kept] for one in states]),
    )


def model_of(weights, folder):
    models = ModelRegistry(folder / "models")
    import_model(write_published(folder / "files", weights), models, "small", finish=add_graphs)
    return models.path("small")


def encoder_of(weights, folder):
    return open_encoder(model_of(weights, folder))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return model_of(published_weights(), tmp_path_factory.mktemp("right"))


@pytest.fixture(scope="module", params=WAYS)
def encoder(request, model):
    return encoder_by(request.param, model)


def errors(encoder, expected: Expected) -> dict[str, float]:
    """The largest error in text vectors, image vectors and match logits, with padding, over all buckets."""
    texts = encoder.encode_texts(SENTENCES)
    images = encoder.encode_images(expected.pixels)
    logits = np.stack([encoder.match(texts, expected.tokens[i : i + 1]) for i in range(len(expected.tokens))], 1)
    return {
        "text": np.abs(texts.vectors - expected.text_vectors).max(),
        "image": np.abs(images.vectors - expected.image_vectors).max(),
        "logit": np.abs(logits - expected.logits).max(),
    }


def test_vectors_and_logits_are_those_of_the_reference(encoder, expected):
    found = errors(encoder, expected)
    assert found["text"] < VECTORS and found["image"] < VECTORS and found["logit"] < LOGITS
    assert np.ptp(expected.logits) > 100 * LOGITS  # the logits do differ


def test_kept_tokens_are_those_of_the_reference_in_16_bits(encoder, expected):
    kept = encoder.encode_images(expected.pixels).tokens
    np.testing.assert_allclose(kept, expected.tokens.astype(np.float32), rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize("index", range(len(SENTENCES)))
def test_neither_bucket_nor_batch_nor_padding_changes_a_sentence(encoder, expected, index):
    alone = encoder.encode_texts([SENTENCES[index]])
    many = encoder.encode_texts([*["狗 在 跑"] * 40, SENTENCES[index], *["一只" * 30] * 25])
    for texts, row in ((alone, 0), (many, 40)):
        np.testing.assert_allclose(texts.vectors[row], expected.text_vectors[index], atol=VECTORS)
    logits = encoder.match(alone, expected.tokens)
    np.testing.assert_allclose(logits, expected.logits[index], atol=LOGITS)
    in_a_crowd = encoder.match(alone, np.repeat(expected.tokens, 20, 0))
    np.testing.assert_allclose(in_a_crowd, np.repeat(expected.logits[index], 20), atol=LOGITS)


@pytest.mark.parametrize("count", [1, 2, 16, 19])
def test_the_size_of_a_batch_changes_no_photo(encoder, expected, count):
    pixels = np.resize(expected.pixels, (count, *expected.pixels.shape[1:]))
    vectors = encoder.encode_images(pixels).vectors
    np.testing.assert_allclose(vectors, np.resize(expected.image_vectors, vectors.shape), atol=VECTORS)


def test_only_the_first_48_pieces_are_read(encoder):
    longest, longer = "红" * 48, "红" * 48 + "狗"
    texts = encoder.encode_texts([longest, longer, "红" * 47 + "狗"])
    assert texts.lengths.tolist() == [50, 50, 50]
    np.testing.assert_array_equal(texts.vectors[0], texts.vectors[1])
    assert np.abs(texts.vectors[0] - texts.vectors[2]).max() > VECTORS


@pytest.mark.parametrize("name", PROJECTIONS)
def test_a_transposed_projection_would_be_noticed(expected, tmp_path, name):
    weights = published_weights()
    assert weights[name].shape == weights[name].T.shape  # the shape stays the same
    found = errors(encoder_of(weights | {name: weights[name].T.copy()}, tmp_path), expected)
    assert found["logit"] > 10 * LOGITS
    assert name.startswith("uniter.encoder") or found["text"] > 10 * VECTORS


def test_an_importer_that_transposes_would_be_noticed(expected, tmp_path, monkeypatch):
    read = Plan.read
    turned = {name for name in published.v2_shapes(SMALL_PUBLISHED) if name.endswith("attention.projection.weight")}
    monkeypatch.setattr(Plan, "read", lambda self, name: read(self, name).T if name in turned else read(self, name))
    found = errors(encoder_of(published_weights(), tmp_path), expected)
    assert found["text"] > 10 * VECTORS and found["logit"] > 10 * LOGITS


def test_a_swapped_tied_name_would_be_noticed(expected, tmp_path, monkeypatch):
    stale = published_weights() | {TABLE: published_weights(seed=9)[published.WORDS]}
    monkeypatch.setitem(published.FORMS, "V2", dataclasses.replace(published.FORMS["V2"], tied={}))
    monkeypatch.setattr(Plan, "_sources", _with_the_second_name(Plan._sources))
    found = errors(encoder_of(stale, tmp_path), expected)
    assert found["text"] > 10 * VECTORS and found["logit"] > 10 * LOGITS


def _with_the_second_name(sources):
    return lambda plan: sources(plan) | {published.WORDS: TABLE}


def leaky_bias(ids):
    """The mask without the row and the column of the last token, whether it is padding or not."""
    valid = (ids != 0).astype(ms.float32)
    valid = ops.concat((valid[:, :-1], ops.ones_like(valid[:, -1:])), axis=1)
    pairs = valid.expand_dims(2) * valid.expand_dims(1)
    return ((1.0 - pairs) * MASKED).expand_dims(1)


@pytest.mark.long
def test_a_dropped_mask_row_would_be_noticed(mindspore, expected, tmp_path, monkeypatch):
    monkeypatch.setattr(OptModel, "text_bias", staticmethod(leaky_bias))
    found = errors(encoder_of(published_weights(), tmp_path), expected)
    assert found["text"] > 10 * VECTORS and found["logit"] > 10 * LOGITS


def test_the_accepted_alias_gives_the_same_numbers(expected, tmp_path):
    weights = published_weights()
    weights[TABLE] = weights.pop(published.WORDS)
    found = errors(encoder_of(weights, tmp_path), expected)
    assert found["text"] < VECTORS and found["logit"] < LOGITS


@pytest.mark.parametrize("way", ["mindspore", pytest.param("onnxruntime", marks=pytest.mark.long)])
def test_a_compact_import_keeps_the_vectors_and_reads_averaged_patches(tmp_path, way):
    """MindSpore runs operator by operator here: to export the graphs takes 20 s."""
    weights, size = published_weights(), SMALL_PUBLISHED.image_size
    file = write_published(tmp_path / "file", weights)
    models = ModelRegistry(tmp_path / "models")
    finish = add_graphs if way == "onnxruntime" else None
    plain, small = (import_model(file, models, name, compact=name == "small", finish=finish) for name in ("plain", "small"))
    assert plain.fingerprint != small.fingerprint
    full, compact = (open_with(way, models.path(name)) for name in ("plain", "small"))
    assert (full.config.token_shape, compact.config.token_shape) == ((17, 128), (5, 65))
    pixels = np.random.default_rng(3).integers(0, 256, (3, size, size, 3)).astype(np.uint8)

    with operator_by_operator():
        images, few = full.encode_images(pixels), compact.encode_images(pixels)
        texts = [compact.encode_texts([sentence]) for sentence in SENTENCES[:3]]
        logits = [compact.match(text, few.tokens) for text in texts]

    np.testing.assert_allclose(few.vectors, images.vectors, atol=1e-6)
    patches = images.tokens[:, 1:].astype(np.float32).reshape(3, 2, 2, 2, 2, 128).mean((2, 4)).reshape(3, 4, 128)
    averaged = np.concatenate([images.tokens[:, :1].astype(np.float32), patches], 1)
    np.testing.assert_allclose(dequantize_tokens(few.tokens), averaged, atol=0.6 * np.abs(averaged).max() / 127)
    reference = NumpyOpt(SMALL_PUBLISHED, weights)
    for sentence, found in zip(SENTENCES, logits, strict=False):
        states = reference.text_states(ids_of(sentence))
        expected = [reference.match_logit(states, tokens) for tokens in dequantize_tokens(few.tokens)]
        np.testing.assert_allclose(found, expected, atol=LOGITS)


def test_only_a_dual_stream_of_pixels_can_be_compact():
    with pytest.raises(UnusableForm, match="without --compact"):
        compacted(dataclasses.replace(SMALL_PUBLISHED, regions=4, region_width=8))
