"""Imported checkpoints of OPT-v1 and of the model zoo's OPT give the logits of an independent forward pass in plain numpy.

The reference (tests/support/numpy_single_stream.py) reads the weights that went into the `.ckpt`, and pads, gathers and masks
as the published code does. The tests `..._would_be_noticed` make mistakes that raise no error, to show that the comparison
finds them.
"""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest

from encoder import open_encoder
from encoder.errors import NoAttention
from encoder.importing import published
from encoder.importing.importer import Plan, import_model
from encoder.inputs.regions import Regions, rows_of
from encoder.network import single_stream
from encoder.registry import ModelRegistry
from encoder.runtime.encoder import OptEncoder
from tests.encoder.importing.test_imported_numbers import ids_of
from tests.support.masks import mask_nothing
from tests.support.numpy_single_stream import NumpyV1, NumpyZoo
from tests.support.published_single_stream import (
    LINEAR,
    SMALL_V1,
    SMALL_ZOO,
    WORDS,
    detections,
    v1_pretraining_weights,
    v1_weights,
    write_single_stream,
    zoo_weights,
)
from tests.support.runtimes import counting_shapes
from tests.support.small_models import add_graphs

TOKENS, LOGITS = 2e-3, 1e-3
SENTENCES = ["狗", "一只红色的狗在跑", "海边的人和蓝天", "a dog 在草地", "雪" * 17, "红色汽车" * 7, "蓝天绿草地" * 20]
COUNTS = [1, 5, 12, 13, 30]


@dataclass(frozen=True, eq=False)
class Form:
    """One of the two models: its images as the network reads them, and the reference's numbers for them and SENTENCES."""

    weights: dict[str, np.ndarray]
    images: np.ndarray
    tokens: list[np.ndarray]
    logits: np.ndarray


@cache
def _v1() -> Form:
    c, weights = SMALL_V1, v1_weights()
    reference = NumpyV1(weights, c.layers, c.heads, c.patch_size, c.image_layers, c.image_heads)
    pixels = np.random.default_rng(3).integers(0, 256, (4, c.image_size, c.image_size, 3)).astype(np.uint8)
    tokens = [reference.vit(one) for one in pixels]
    kept = [one.astype(np.float16).astype(np.float64) for one in tokens]
    logits = [[reference.match_logit(ids_of(sentence), one) for one in kept] for sentence in SENTENCES]
    return Form(weights, pixels, [one[:-1] for one in tokens], np.array(logits))


@cache
def _zoo() -> Form:
    c, weights = SMALL_ZOO, zoo_weights()
    reference = NumpyZoo(weights, c.layers, c.heads)
    found = [detections(count) for count in COUNTS]
    tokens = [reference.image(one["feat"], one["pred_boxes"], 640, 480) for one in found]
    kept = [one.astype(np.float16).astype(np.float64) for one in tokens]
    cut = [ids if len(ids := ids_of(sentence)) <= 30 else [*ids[:29], ids[-1]] for sentence in SENTENCES]
    logits = [[reference.match_logit(ids, one) for one in kept] for ids in cut]
    rows = [rows_of(Regions(one["feat"], one["pred_boxes"], 640, 480), c.regions) for one in found]
    return Form(weights, np.stack(rows), tokens, np.array(logits))


MADE = {"V1": _v1, "ZOO": _zoo}


@pytest.fixture(scope="module", params=["V1", "ZOO"])
def form(request) -> Form:
    return MADE[request.param]()


def model_of(weights: dict[str, np.ndarray], folder: Path) -> Path:
    models = ModelRegistry(folder / "models")
    import_model(write_single_stream(folder / "files", weights), models, "small", finish=add_graphs)
    return models.path("small")


def encoder_of(weights: dict[str, np.ndarray], folder: Path) -> OptEncoder:
    return open_encoder(model_of(weights, folder))


@pytest.fixture(scope="module")
def model(form, tmp_path_factory):
    return model_of(form.weights, tmp_path_factory.mktemp("right"))


def stored(form: Form) -> np.ndarray:
    """The reference's tokens as they are stored, float16 [n, L, W]."""
    length = max(len(one) for one in form.tokens)
    return np.stack([np.pad(one, ((0, length - len(one)), (0, 0))) for one in form.tokens]).astype(np.float16)


def logits_of(encoder: OptEncoder, tokens: np.ndarray, sentences: list[str] = SENTENCES) -> np.ndarray:
    texts = encoder.encode_texts(sentences)
    return np.stack([encoder.match(texts, tokens[i : i + 1]) for i in range(len(tokens))], 1)


def error(encoder: OptEncoder, form: Form) -> float:
    """The largest error in a logit, from images to the end."""
    return np.abs(logits_of(encoder, encoder.encode_images(form.images).tokens) - form.logits).max()


def test_logits_are_those_of_the_reference(encoder, form):
    assert np.abs(logits_of(encoder, stored(form)) - form.logits).max() < LOGITS
    assert np.ptp(form.logits) > 100 * LOGITS  # there is something to agree on
    assert error(encoder, form) < 10 * LOGITS  # a token that is stored in 16 bits may be rounded the other way


def test_stored_tokens_are_those_of_the_reference_in_16_bits(encoder, form):
    kept = encoder.encode_images(form.images)
    assert kept.vectors.shape == (len(form.images), 0) and kept.tokens.dtype == np.float16
    np.testing.assert_allclose(kept.tokens, stored(form), rtol=TOKENS, atol=TOKENS / 4)


@pytest.mark.parametrize("place", range(len(SENTENCES)))
def test_neither_padding_nor_batch_nor_bucket_changes_a_score(encoder, form, place):
    tokens, expected = stored(form), form.logits[place]
    alone = encoder.encode_texts([SENTENCES[place]])
    together = encoder.match(alone, tokens)
    one_by_one = np.concatenate([encoder.match(alone, tokens[i : i + 1]) for i in range(len(tokens))])
    in_a_crowd = encoder.match(alone, np.repeat(tokens, 5, 0))[::5]
    beside_longer = encoder.encode_texts([SENTENCES[place], "一只" * 30])
    wider = np.concatenate([encoder.match(beside_longer, tokens[i : i + 1])[:1] for i in range(len(tokens))])
    for found in (together, one_by_one, in_a_crowd, wider):
        np.testing.assert_allclose(found, expected, atol=LOGITS)


def test_after_warm_up_no_pair_compiles_anything(model, form):
    encoder = counting_shapes(model)
    encoder.warm_up()
    compiled = encoder.graphs.compiled
    for place in range(len(form.images)):
        tokens = encoder.encode_images(form.images[place : place + 1]).tokens
        for sentence in SENTENCES:
            encoder.match(encoder.encode_texts([sentence]), np.repeat(tokens, 5, 0))
    assert encoder.graphs.compiled == compiled


def test_concurrent_pairs_get_the_logits_they_get_alone(encoder, form):
    texts, tokens = [encoder.encode_texts([sentence]) for sentence in SENTENCES], stored(form)
    pairs = [(row, place) for row in range(len(SENTENCES)) for place in range(len(tokens))]
    with ThreadPoolExecutor(16) as pool:
        got = list(pool.map(lambda one: encoder.match(texts[one[0]], tokens[one[1] : one[1] + 1])[0], pairs))
    np.testing.assert_allclose(got, [form.logits[one] for one in pairs], atol=LOGITS)


def test_its_attention_cannot_be_explained(encoder, form):
    with pytest.raises(NoAttention, match="can't show where"):
        encoder.explain(encoder.encode_texts(["狗"]), stored(form))


@pytest.mark.parametrize("count", [1, 2, 8, 11])
def test_the_size_of_a_batch_changes_no_image(encoder, form, count):
    images = np.resize(form.images, (count, *form.images.shape[1:]))
    kept = encoder.encode_images(images).tokens
    np.testing.assert_allclose(kept, np.resize(stored(form), kept.shape), rtol=TOKENS, atol=TOKENS / 4)


def test_a_pretraining_file_gives_the_same_numbers(tmp_path):
    form = _v1()
    encoder = encoder_of(v1_pretraining_weights(), tmp_path)
    assert np.abs(logits_of(encoder, stored(form)) - form.logits).max() < LOGITS


def test_a_transposed_projection_would_be_noticed(form, tmp_path):
    name = "uniter.encoder.encoder.blocks.1.attention.projection.weight"
    transposed = form.weights[name].T.copy()
    assert transposed.shape == form.weights[name].shape  # the shape doesn't show it
    assert error(encoder_of(form.weights | {name: transposed}, tmp_path), form) > 100 * LOGITS


def test_the_other_form_s_layout_would_be_noticed(form, tmp_path, monkeypatch):
    read = Plan.read
    monkeypatch.setattr(
        Plan,
        "read",
        lambda self, name: (
            read(self, name).T.copy()
            if name.startswith("uniter.encoder.") and name.endswith("attention.projection.weight")
            else read(self, name)
        ),
    )
    assert error(encoder_of(form.weights, tmp_path), form) > 100 * LOGITS


@pytest.mark.parametrize("head, name", [("cls.predictions.decoder.weight", WORDS), ("feat_regress.weight", LINEAR)])
def test_a_swapped_tied_name_would_be_noticed(tmp_path, monkeypatch, head, name):
    form, stale = _v1(), v1_weights(seed=9)[name]
    tied = {key: value for key, value in published.FORMS["V1"].tied.items() if key != head}
    monkeypatch.setitem(published.FORMS, "V1", dataclasses.replace(published.FORMS["V1"], tied=tied))
    encoder = encoder_of(v1_pretraining_weights() | {name: stale}, tmp_path)  # the head's own weight is now ignored
    assert error(encoder, form) > 100 * LOGITS


@pytest.mark.parametrize("row", [0, 3, *(pytest.param(row, marks=pytest.mark.long) for row in (1, 4))])
def test_another_class_of_the_itm_head_would_be_noticed(tmp_path, monkeypatch, row):
    rows = {name: (head, row) for name, (head, _) in published.FORMS["V1"].rows.items()}
    monkeypatch.setitem(published.FORMS, "V1", dataclasses.replace(published.FORMS["V1"], rows=rows))
    assert error(encoder_of(v1_pretraining_weights(), tmp_path), _v1()) > 100 * LOGITS


@pytest.mark.long
def test_a_dropped_mask_row_would_be_noticed(form, mindspore, tmp_path, monkeypatch):
    whole = single_stream.SingleStreamModel.match_logits

    def leaky(self: single_stream.SingleStreamModel, ids: ms.Tensor, valid: ms.Tensor, tokens: ms.Tensor) -> ms.Tensor:
        """Attend to the text's last position, padding or not."""
        return whole(self, ids, ms.ops.concat((valid[:, :-1], ms.ops.ones_like(valid[:, -1:])), axis=1), tokens)

    monkeypatch.setattr(single_stream.SingleStreamModel, "match_logits", leaky)
    assert error(encoder_of(form.weights, tmp_path), form) > 10 * LOGITS


@pytest.mark.long
def test_regions_that_are_not_masked_would_be_noticed(mindspore, tmp_path, monkeypatch):
    form = _zoo()
    monkeypatch.setattr(single_stream, "padding_bias", mask_nothing)
    assert error(encoder_of(form.weights, tmp_path), form) > 10 * LOGITS


def _without_the_patch_of_zeros(self: single_stream.SingleStreamVit, pixels: ms.Tensor) -> ms.Tensor:
    g, p = self.side, self.patch
    x = ((pixels - self.mean) / self.std).reshape((-1, 3, g, p, g, p)).transpose((0, 2, 4, 1, 3, 5))
    x = self.stem.patch_to_embedding(x.reshape((-1, g * g, 3 * p * p))) + self.encoder_pos_embedding[:, :-1]
    for block in self.encoder.blocks:
        x = block(x, self.no_bias)
    return self.norm(x)


def _with_positions_as_trained(self: single_stream.SingleStreamVit, pixels: ms.Tensor) -> ms.Tensor:
    g, p = self.side, self.patch
    x = ((pixels - self.mean) / self.std).reshape((-1, 3, g, p, g, p)).transpose((0, 2, 4, 1, 3, 5))
    x = x.reshape((-1, g * g, 3 * p * p))
    x = ms.ops.concat((ms.ops.zeros_like(x[:, :1]), x), axis=1)  # patch k at position k + 1
    x = self.stem.patch_to_embedding(x) + self.encoder_pos_embedding
    for block in self.encoder.blocks:
        x = block(x, self.no_bias)
    return self.norm(x)[:, 1:]


@pytest.mark.long
@pytest.mark.parametrize("mistake", [_without_the_patch_of_zeros, _with_positions_as_trained])
def test_a_vit_without_its_quirks_would_be_noticed(mindspore, tmp_path, monkeypatch, mistake):
    form = _v1()
    monkeypatch.setattr(single_stream.SingleStreamVit, "construct", mistake)
    assert error(encoder_of(form.weights, tmp_path), form) > 10 * LOGITS


def test_a_mask_embedding_that_is_not_added_would_be_noticed(tmp_path):
    form = _v1()
    name = "uniter.img_embeddings.mask_embedding.embedding_table"
    assert error(encoder_of(form.weights | {name: np.zeros_like(form.weights[name])}, tmp_path), form) > 10 * LOGITS


def test_boxes_of_another_order_would_be_noticed(tmp_path):
    form = _zoo()
    swapped = form.images.copy()
    at = SMALL_ZOO.region_width
    swapped[:, :, [at, at + 1, at + 2, at + 3]] = form.images[:, :, [at + 1, at, at + 3, at + 2]]
    assert error(encoder_of(form.weights, tmp_path), dataclasses.replace(form, images=swapped)) > 10 * LOGITS
