"""The three calls, as the other rooms use them."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from encoder import open_encoder
from tests.commands import ROOT
from tests.small_models import SMALL_MINI, write_small_model


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return open_encoder(write_small_model(tmp_path_factory.mktemp("model")))


def photos(count: int) -> np.ndarray:
    size = SMALL_MINI.image_size
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
def test_a_photo_is_encoded_alike_alone_and_in_any_batch(encoder, count):
    pixels = photos(count)
    together = encoder.encode_images(pixels)
    alone = encoder.encode_images(pixels[-1:])
    np.testing.assert_allclose(together.vectors[-1], alone.vectors[0], atol=1e-5)
    np.testing.assert_allclose(together.tokens[-1], alone.tokens[0], atol=2e-2)


def test_a_sentence_is_encoded_alike_alone_and_beside_longer_ones(encoder):
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
    np.testing.assert_array_equal(got, expected)


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
    print(encoder.fingerprint, *texts.vectors[0, :4].round(4), encoder.match(texts, encoder.encode_images(
        __import__("numpy").zeros((1, *encoder.config.inputs.shape), "uint8")).tokens).round(3))
"""


def test_two_models_share_the_compile_cache_and_never_their_graphs(tmp_path):
    folders = [str(write_small_model(tmp_path / name, seed=seed)) for name, seed in (("one", 1), ("two", 2))]
    environment = os.environ | {"PANOPTES_CACHE": str(tmp_path / "cache"), "PYTHONPATH": str(ROOT)}
    script = tmp_path / "both.py"
    script.write_text(BOTH, encoding="utf-8")
    said = []
    for order in (folders, folders, folders[::-1]):  # compiled, kept, and in another order
        done = subprocess.run([sys.executable, script, *order], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        said.append(set(done.stdout.splitlines()))
    assert len(said[0]) == 2 and said[0] == said[1] == said[2]
    assert len(list((tmp_path / "cache").iterdir())) == 1
