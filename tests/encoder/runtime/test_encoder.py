"""The calls of `OptEncoder`, as the other rooms use them."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from encoder import open_encoder
from encoder.model_folder import write_model
from encoder.runtime import encoder as runtime
from encoder.runtime.mindspore_graphs import MindSporeGraphs
from tests.support.commands import ROOT
from tests.support.runtimes import WAYS, counting_shapes, encoder_by
from tests.support.small_models import SMALL_MINI, SMALLEST, random_weights, vocabulary, write_small_model


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """The encoder, opened once in each way."""
    model = write_small_model(tmp_path_factory.mktemp("model"))
    return cache(lambda way: encoder_by(way, model))


@pytest.fixture(scope="module", params=WAYS)
def encoder(request, opened):
    return opened(request.param)


def photos(count: int, size: int = SMALL_MINI.image_size) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, size, size, 3)).astype(np.uint8)


def test_encodings_have_the_promised_shapes_and_types(encoder):
    images, texts = encoder.encode_images(photos(3)), encoder.encode_texts(["a dog", "红色的猫 on the beach"])
    assert images.vectors.shape == (3, 16) and images.vectors.dtype == np.float32
    assert images.tokens.shape == (3, *SMALL_MINI.token_shape) and images.tokens.dtype == np.float16
    assert texts.vectors.shape == (2, 16) and texts.states.shape[0] == 2
    assert texts.lengths.tolist() == [4, 9]
    np.testing.assert_allclose(np.linalg.norm(images.vectors, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(texts.vectors, axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("count", [1, 2, 16, 17, 35])
def test_a_photo_is_encoded_the_same_alone_and_in_any_batch(encoder, count):
    pixels = photos(count)
    together = encoder.encode_images(pixels)
    alone = encoder.encode_images(pixels[-1:])
    np.testing.assert_allclose(together.vectors[-1], alone.vectors[0], atol=1e-5)
    np.testing.assert_allclose(together.tokens[-1], alone.tokens[0], atol=2e-2)


def test_a_sentence_is_encoded_the_same_alone_and_beside_longer_ones(encoder):
    alone = encoder.encode_texts(["a red car"])
    beside = encoder.encode_texts(["a red car", "the dog on the beach " * 3])
    assert beside.states.shape[1] > alone.states.shape[1]
    np.testing.assert_allclose(alone.vectors[0], beside.vectors[0], atol=1e-5)


def test_match_pairs_one_with_many_and_many_with_one(encoder):
    texts = encoder.encode_texts(["a dog", "the cat on the beach", "红 色"])
    tokens = encoder.encode_images(photos(40)).tokens
    one_text = encoder.encode_texts(["a dog"])
    logits = encoder.match(one_text, tokens)
    assert logits.shape == (40,) and logits.dtype == np.float32
    assert np.ptp(logits) > 0
    np.testing.assert_allclose(encoder.match(texts, tokens[:1])[0], logits[0], atol=1e-4)
    np.testing.assert_allclose(encoder.match(texts, tokens[:3])[0], logits[0], atol=1e-4)
    with pytest.raises(ValueError, match="3 texts"):
        encoder.match(texts, tokens[:2])


def test_nothing_to_encode_gives_nothing(encoder):
    assert encoder.encode_images(photos(0)).vectors.shape == (0, 16)
    assert encoder.encode_texts([]).vectors.shape == (0, 16)


def test_calls_from_many_threads_give_what_one_thread_gives(encoder):
    sentences = ["a dog", "the red car", "猫", "on the beach"] * 4
    expected = [encoder.encode_texts([s]).vectors[0] for s in sentences]
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda s: encoder.encode_texts([s]).vectors[0], sentences))
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_on_batch_is_called_with_the_rows_of_each_batch_without_padding(encoder, monkeypatch):
    calls = []
    monkeypatch.setattr(encoder, "on_batch", lambda kind, rows: calls.append((kind, rows)))

    encoder.encode_texts(["a dog", "two dogs", "狗"])
    images = encoder.encode_images(np.zeros((2, *encoder.config.inputs.shape), np.uint8))
    encoder.match(encoder.encode_texts(["a dog"]), images.tokens)

    assert calls[0] == ("texts", 3) and calls[-1] == ("pairs", 2)
    assert sum(rows for kind, rows in calls if kind == "images") == 2


def test_pairs_that_share_a_batch_get_what_they_get_alone(encoder):
    texts = [encoder.encode_texts([s]) for s in ("a dog", "the red car", "猫", "a cat on the beach in the car")]
    tokens = encoder.encode_images(photos(37)).tokens
    requests = [(texts[i % 4], tokens[i : i + 1 + i]) for i in range(16)]
    expected = [encoder.match(*one) for one in requests]
    with ThreadPoolExecutor(16) as pool:
        got = list(pool.map(lambda one: encoder.match(*one), requests))
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_a_failing_request_does_not_fail_others(encoder):
    texts, tokens = encoder.encode_texts(["a dog"]), encoder.encode_images(photos(3)).tokens
    expected = encoder.match(texts, tokens)
    with ThreadPoolExecutor(16) as pool:
        good = [pool.submit(encoder.match, texts, tokens) for _ in range(8)]
        bad = [pool.submit(encoder.match, texts, tokens[:, :2, :5]) for _ in range(8)]
    assert all(one.exception() is not None for one in bad)
    for one in good:
        np.testing.assert_allclose(one.result(), expected, atol=1e-5)
    np.testing.assert_allclose(encoder.match(texts, tokens), expected, atol=1e-5)


def test_attention_weights_do_not_depend_on_the_batch(encoder):
    texts, tokens = encoder.encode_texts(["a red car", "the dog on the beach " * 3]), encoder.encode_images(photos(3)).tokens
    alone = encoder.encode_texts(["a red car"])

    weights = encoder.explain(alone, tokens)

    assert weights.shape == (3, SMALL_MINI.fusion_layers, 8, SMALL_MINI.token_shape[0]) and weights.dtype == np.float32
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-5)
    np.testing.assert_allclose(encoder.explain(texts, tokens[:1])[0, :, :5], weights[0, :, :5], atol=1e-5)
    assert np.abs(weights[0] - weights[1])[:, :5].max() > 1e-3
    assert encoder.explain(alone, tokens[:0]).shape[0] == 0


def test_spans_are_the_characters_of_each_token(encoder):
    sentence = "a Dog 红色"
    assert [sentence[start:end] for start, end in encoder.spans(sentence)] == ["", "a", "Dog", "红", "色", ""]


@pytest.mark.parametrize(("count", "sizes", "expected"), [
    (0, (8, 32), []), (1, (1, 8), [(1, 1)]), (3, (8, 32), [(3, 8)]), (12, (8, 32), [(8, 8), (4, 8)]), (17, (8, 32), [(17, 32)]),
    (70, (8, 32), [(32, 32), (32, 32), (6, 8)]), (2, (1, 8, 32), [(1, 1), (1, 1)]), (3, (1, 8, 32), [(3, 8)]),
    (5, (4,), [(4, 4), (1, 4)]),
])  # fmt: skip
def test_rows_go_into_few_and_small_batches(count, sizes, expected):
    found = list(runtime.padded_batches(count, sizes))
    assert [(rows.stop - rows.start, size) for rows, size in found] == expected
    assert [i for rows, _ in found for i in range(rows.start, rows.stop)] == list(range(count))


@pytest.mark.parametrize("way", ["onnxruntime", pytest.param("mindspore", marks=pytest.mark.long)])
def test_two_models_that_run_at_the_same_time_never_share_a_batch(opened, tmp_path, way):
    encoder, other = opened(way), encoder_by(way, write_small_model(tmp_path / "other", seed=3))
    pixels, encoders = photos(3), [encoder, other] * 8

    def ask(one):
        texts = one.encode_texts(["a dog"])
        return texts.vectors[0], one.match(texts, one.encode_images(pixels).tokens)

    expected = [ask(encoder), ask(other)]
    assert np.abs(expected[0][1] - expected[1][1]).max() > 1e-2
    with ThreadPoolExecutor(16) as pool:
        for i, got in enumerate(pool.map(ask, encoders)):
            for found, alone in zip(got, expected[i % 2], strict=True):
                np.testing.assert_allclose(found, alone, atol=1e-5)


def test_compact_tokens_are_read_and_explained(tmp_path):
    compact, whole = (open_encoder(write_small_model(tmp_path / name)) for name in ("compact", "whole"))
    compact.config = dataclasses.replace(SMALL_MINI, compact_tokens=True)  # no graph depends on it
    texts, pixels = whole.encode_texts(["a red car"]), photos(3)
    kept = compact.encode_images(pixels).tokens

    weights, logits = compact.explain(texts, kept), compact.match(texts, kept)

    tokens = whole.encode_images(pixels).tokens
    np.testing.assert_allclose(weights[:, :, :5], whole.explain(texts, tokens)[:, :, :5], atol=0.02)
    np.testing.assert_allclose(logits, whole.match(texts, tokens), atol=0.1)


@pytest.mark.parametrize("compact", [False, True])
def test_after_warm_up_no_query_compiles_anything(tmp_path, compact):
    encoder = counting_shapes(write_small_model(tmp_path))
    encoder.config = dataclasses.replace(SMALL_MINI, compact_tokens=compact)  # no graph depends on it
    encoder.warm_up()
    assert isinstance(encoder.graphs, MindSporeGraphs)
    compiled = encoder.graphs.compiled

    size = encoder.config.image_size
    images = encoder.encode_images(photos(1, size)), encoder.encode_images(photos(11, size))
    for words in range(0, 40, 3):
        for count in (1, 2, 5, 20, 40):
            texts = encoder.encode_texts(["dog " * words] * count)
            encoder.match(texts, images[0].tokens)
        encoder.match(encoder.encode_texts(["dog " * words]), images[1].tokens)
        encoder.explain(texts, images[0].tokens)

    assert encoder.graphs.compiled == compiled
    assert {entry for entry, *_ in compiled} == {"images", "texts", "match", "attention"}


def test_empty_and_endless_sentences_are_encoded_too(encoder):
    texts = encoder.encode_texts(["", "dog " * 500, "\x00\ud800 dog".encode("utf-8", "replace").decode()])
    assert np.isfinite(texts.vectors).all()
    assert texts.lengths.max() == SMALL_MINI.text_length


BOTH = """
import sys
from encoder import open_encoder
first, second = (open_encoder(folder) for folder in sys.argv[1:])
for encoder in (first, second, first):
    texts = encoder.encode_texts(["a dog on the beach"])
    print(encoder.fingerprint, *texts.vectors[0, :4].round(4))
"""


def test_two_models_share_the_compile_cache_and_never_their_graphs(tmp_path):
    folders = [str(tmp_path / name) for name in ("one", "two")]
    for seed, folder in enumerate(folders):
        write_model(Path(folder), SMALLEST, random_weights(SMALLEST, seed), vocabulary())
    own = {"PANOPTES_CACHE": str(tmp_path / "cache"), "PANOPTES_RUNTIME": "mindspore", "PYTHONPATH": str(ROOT)}
    environment = os.environ | own
    script = tmp_path / "both.py"
    script.write_text(BOTH, encoding="utf-8")
    outputs = []
    for order in (folders, folders[::-1]):  # compiled, and kept, in another order
        done = subprocess.run([sys.executable, script, *order], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        outputs.append(set(done.stdout.splitlines()))
    assert len(outputs[0]) == 2 and outputs[0] == outputs[1]
    assert len(list((tmp_path / "cache").iterdir())) == 1
