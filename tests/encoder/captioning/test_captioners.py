"""Captioners give the numbers, and write the captions, of an independent forward pass and search in plain numpy.

The references (tests/support/numpy_captioners.py) read a whole caption at each word and keep no keys and values. The tests
`..._would_be_noticed` make mistakes that raise no error, in the references, to show that the comparison finds them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from encoder.captioner_config import CaptionerConfig, CaptioningConfig, TextOutputConfig
from encoder.errors import UnwrittenLanguage
from encoder.inputs.regions import Regions, rows_of
from encoder.model_folder import write_model
from encoder.quantization import dequantize_tokens, quantize_tokens
from encoder.runtime.captioner import Captioner
from tests.support.numpy_captioners import NumpyCap, NumpyTextOutput, log_softmax, published_search
from tests.support.numpy_single_stream import NumpyV1, NumpyZoo
from tests.support.published_models import SMALL_IMPORTED
from tests.support.published_single_stream import detections
from tests.support.small_captioners import (
    SMALL_CAP,
    SMALL_CAPTIONER,
    SMALL_V1_CAPTION,
    SMALL_ZOO_CAPTION,
    captioner_weights,
    named_weights,
    write_small_captioner,
)
from tests.support.small_models import add_graphs, vocabulary

CLOSE = 1e-3
COUNTS = [1, 4, 12, 30]
NO_MISTAKES: tuple[str, ...] = ()
CONFIGS: dict[str, CaptioningConfig] = {
    "opt-mini's": dataclasses.replace(SMALL_CAPTIONER, guarded=False),
    "V2": SMALL_CAP,
    "V2 as published": dataclasses.replace(SMALL_CAP, bidirectional=True),
    "V1": SMALL_V1_CAPTION,
    "V1 with its last patch": dataclasses.replace(SMALL_V1_CAPTION, last_patch=True),
    "ZOO": SMALL_ZOO_CAPTION,
}
Logits = Callable[[list[int]], np.ndarray]


@dataclass(frozen=True, eq=False)
class Reference:
    """What the reference of a form gives.

    Attributes:
        images: as the network reads them.
        tokens: of each image; without those that nothing attends to.
        logits: of the next word after ids, for each image.
    """

    images: np.ndarray
    tokens: list[np.ndarray]
    logits: list[Logits]


def photos(side: int) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (4, side, side, 3)).astype(np.uint8)


def cap(config: CaptionerConfig, mistakes: Collection[str]) -> Reference:
    reference = NumpyCap(
        captioner_weights(config), config.heads, config.text_layers, config.fusion_layers, config.bidirectional, mistakes
    )
    if config.encoder:
        images = np.random.default_rng(5).normal(0, 1, (4, *config.token_shape)).astype(np.float16)
        tokens = [one.astype(np.float64) for one in images]
    else:
        images = photos(config.image_size)
        stream = dataclasses.replace(SMALL_IMPORTED, image_layers=config.image_layers)
        tokens = [reference.states(stream, one) for one in images]
    return Reference(images, tokens, [lambda ids, own=own: reference.logits(own, ids) for own in tokens])


def text_output(config: TextOutputConfig, mistakes: Collection[str]) -> Reference:
    c = config.trunk
    more = {"uniter.img_embeddings.mask_embedding.embedding_table": (2, c.image_width)}
    weights = captioner_weights(config) | named_weights(more)
    layers = (config.encoder_layers, config.decoder_layers)
    if c.regions:
        reference = NumpyTextOutput(weights, NumpyZoo(weights, c.layers, c.heads), config.heads, layers, mistakes=mistakes)
        found = [detections(count) for count in COUNTS]
        images = np.stack([rows_of(Regions(one["feat"], one["pred_boxes"], 640, 480), c.regions) for one in found])
        read = [reference.states_of_regions(one, padding=2) for one in found]
    else:
        trunk = NumpyV1(weights, c.layers, c.heads, c.patch_size, c.image_layers, c.image_heads)
        reference = NumpyTextOutput(weights, trunk, config.heads, layers, config.last_patch, mistakes)
        images = photos(c.image_size)
        read = [reference.states_of_patches(one) for one in images]
    logits: list[Logits] = [lambda ids, own=own: reference.logits(*own, ids) for own in read]
    return Reference(images, [states[valid == 1] for states, valid in read], logits)


@cache
def reference_of(form: str, mistakes: tuple[str, ...] = NO_MISTAKES) -> Reference:
    config = CONFIGS[form]
    return cap(config, mistakes) if isinstance(config, CaptionerConfig) else text_output(config, mistakes)


@pytest.fixture(scope="module")
def captioner_in(tmp_path_factory) -> Callable[[str], Captioner]:
    """The captioner of each form, opened once."""

    @cache
    def opened(form: str) -> Captioner:
        folder: Path = tmp_path_factory.mktemp("captioner")
        write_model(folder, CONFIGS[form], captioner_weights(CONFIGS[form]), vocabulary())
        return Captioner(add_graphs(folder))

    return opened


@pytest.fixture(params=list(CONFIGS))
def form(request) -> str:
    return request.param


def tokens_of(captioner: Captioner, images: np.ndarray) -> np.ndarray:
    return images if captioner.config.encoder else captioner.encode_images(images)


def first_id(config: CaptioningConfig) -> int:
    return config.begin[0][1]


def given_captions(config: CaptioningConfig) -> np.ndarray:
    """Four captions of eight words, as they are read: their begin first."""
    words = np.random.default_rng(8).integers(1, config.vocab_size, (4, 8)).astype(np.int32)
    words[:, 0] = first_id(config)
    return words


@cache
def scores_of(captioner: Captioner, form: str) -> np.ndarray:
    tokens = tokens_of(captioner, reference_of(form).images)
    return captioner.log_probabilities(tokens, given_captions(captioner.config))


def expected_scores(form: str, mistakes: tuple[str, ...] = NO_MISTAKES, begin: int | None = None) -> np.ndarray:
    ids = given_captions(CONFIGS[form])
    if begin is not None:
        ids[:, 0] = begin
    logits = reference_of(form, mistakes).logits
    return log_softmax(np.stack([own(words.tolist()) for own, words in zip(logits, ids, strict=True)]))


def test_tokens_are_those_of_the_reference(captioner_in, form):
    captioner, reference = captioner_in(form), reference_of(form)
    tokens = tokens_of(captioner, reference.images)
    assert tokens.shape[1:] == captioner.config.token_shape
    for found, expected in zip(tokens, reference.tokens, strict=True):
        np.testing.assert_allclose(found[: len(expected)], expected, atol=CLOSE)
        assert not found[len(expected) :].any()


def test_given_captions_are_scored_as_by_the_reference(captioner_in, form):
    """Its keys and values are kept from word to word; the reference reads a whole caption at each word."""
    expected = expected_scores(form)
    assert np.ptp(expected) > 100 * CLOSE  # there is something to agree on
    np.testing.assert_allclose(scores_of(captioner_in(form), form), expected, atol=CLOSE)


@pytest.mark.parametrize("beams", [1, 4])
def test_captions_are_those_of_the_reference(captioner_in, form, beams):
    captioner, reference = captioner_in(form), reference_of(form)
    config = captioner.config
    found = captioner.search(tokens_of(captioner, reference.images), config.languages[0], beams)
    assert any(len(one.ids) > 2 for one in found)
    for own, one in list(zip(reference.logits, found, strict=True))[:3]:
        ids, log_probability = published_search(
            lambda words, own=own: log_softmax(own(words)[-1]), config.caption_length, beams, first_id(config), config.end
        )
        assert one.ids == ids
        assert one.log_probability == pytest.approx(log_probability, abs=(1 + len(ids)) * CLOSE)


@pytest.mark.parametrize(
    "form, mistake",
    [
        *(("V2", mistake) for mistake in ("gelu in the head", "last norm", "transposed")),
        *(("V1", mistake) for mistake in ("mask embedding", "transposed", "gelu")),
        *(("ZOO", mistake) for mistake in ("gelu", "no factor", "interleaved", "rates to 512", "transposed")),
        *(("ZOO", mistake) for mistake in ("encoder positions", "encoder norm", "last norm", "a joint sequence")),
    ],
)
def test_a_silent_mistake_would_be_noticed(captioner_in, form, mistake):
    assert np.abs(scores_of(captioner_in(form), form) - expected_scores(form, (mistake,))).max() > 10 * CLOSE


@pytest.mark.parametrize("form", ["V2", "ZOO", "V1"])
def test_another_begin_would_be_noticed(captioner_in, form):
    assert np.abs(scores_of(captioner_in(form), form) - expected_scores(form, begin=2)).max() > 10 * CLOSE


def test_the_published_evaluation_is_not_what_was_trained_but_for_the_first_word(captioner_in):
    """Without a causal mask the states of earlier words change with each word."""
    causal, published = scores_of(captioner_in("V2"), "V2"), expected_scores("V2 as published")
    np.testing.assert_allclose(causal[:, 0], published[:, 0], atol=CLOSE)
    assert (np.abs(causal - published)[:, 1:].max((1, 2)) > 10 * CLOSE).all()


def test_v1_s_last_patch_makes_a_difference(captioner_in):
    assert np.abs(scores_of(captioner_in("V1"), "V1") - expected_scores("V1 with its last patch")).max() > 10 * CLOSE


@pytest.mark.parametrize("count", [1, 3, 11])
def test_neither_batch_nor_order_changes_a_caption(captioner_in, count):
    captioner, images = captioner_in("opt-mini's"), reference_of("opt-mini's").images
    alone = [captioner.search(one[None], "zh", 3)[0] for one in images]
    found = captioner.search(np.resize(images[::-1], (count, *images.shape[1:])), "zh", 3)
    assert [one.ids for one in found] == [one.ids for one in (alone[::-1] * 3)[:count]]


def test_tokens_that_are_stored_in_8_bits_are_read(captioner_in):
    captioner, images = captioner_in("opt-mini's"), reference_of("opt-mini's").images
    in_8_bits = quantize_tokens(images)
    ids = given_captions(captioner.config)
    expected = captioner.log_probabilities(dequantize_tokens(in_8_bits), ids)
    np.testing.assert_allclose(captioner.log_probabilities(in_8_bits, ids), expected, atol=1e-6)


def test_opt_mini_s_search_writes_no_marks_and_nothing_three_times(tmp_path):
    captioner = Captioner(write_small_captioner(tmp_path))
    images = np.random.default_rng(6).normal(0, 2, (30, *captioner.config.token_shape))
    for beams in (1, 3):
        for one in captioner.search(images, "en", beams):
            assert not set(one.ids) & {0, 1, 2, 3, 13, 14}
            assert not any(one.ids[at] == one.ids[at + 1] == one.ids[at + 2] for at in range(len(one.ids) - 2))


def test_a_language_that_it_doesn_t_write_is_an_error(captioner_in):
    with pytest.raises(UnwrittenLanguage, match="doesn't write 'fr': it writes en, zh"):
        captioner_in("opt-mini's").write(reference_of("opt-mini's").images, "fr")


def test_tokens_of_another_encoder_are_an_error(captioner_in):
    with pytest.raises(ValueError, match=r"tokens of \[4, 32\], where an image has \[5, 32\]"):
        captioner_in("opt-mini's").write(np.zeros((1, 4, 32), np.float16), "en")


def test_mindspore_writes_the_same(captioner_in, tmp_path, monkeypatch):
    folder = write_small_captioner(tmp_path)
    monkeypatch.setenv("PANOPTES_RUNTIME", "mindspore")
    images = reference_of("opt-mini's").images[:1]
    ids = given_captions(SMALL_CAPTIONER)[:1, :3]
    expected = captioner_in("opt-mini's").log_probabilities(images, ids)
    np.testing.assert_allclose(Captioner(folder).log_probabilities(images, ids), expected, atol=CLOSE)
