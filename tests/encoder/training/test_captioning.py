"""`train --captioner`: the vocabulary and the batches of captions, and a training that is stopped and goes on."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from mindspore import Tensor, nn

from encoder.captioner_config import CaptionerConfig
from encoder.network.captioner import CaptionerModel
from encoder.runtime.device import use_device
from encoder.training.captioner_vocabulary import END, UNKNOWN, set_first_weights, smaller_tokenizer
from encoder.training.captioning import CaptionedTokens, CaptionObjective, batch_of, perplexities
from encoder.training.vocabulary import build_tokenizer

CONFIG = CaptionerConfig(
    name="small",
    hidden_size=8,
    vocab_size=9,
    heads=2,
    text_layers=1,
    text_intermediate=8,
    fusion_layers=3,
    fusion_intermediate=8,
    max_positions=8,
    image_tokens=2,
    caption_length=6,
    begin=(("en", 4), ("zh", 5)),
    end=END,
)
VALUES = {"batch": 3, "by_people": 1.0, "unread_words": 0.0}


def captioned(english: list, chinese: list, translated: list) -> CaptionedTokens:
    """Photos with these captions; a photo's tokens hold its row."""
    tokens = np.arange(len(english), dtype=np.float16)[:, None, None] * np.ones((1, 2, 8), np.float16)
    return CaptionedTokens(tokens, english, chinese, translated)


def test_the_vocabulary_is_what_captions_use_with_a_mark_for_each_language(tmp_path):
    pieces = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "▁a", "▁dog", "▁cat", "d", "狗"]
    path = tmp_path / "tokenizer.json"
    build_tokenizer([(piece, -1.0) for piece in pieces]).save(str(path))
    tokenizer, rows = smaller_tokenizer(path, ["a dog", "a dog", "a cat", "狗"], fewest=2)
    kept = [piece for piece, _ in sorted(tokenizer.get_vocab().items(), key=lambda one: one[1])]
    assert kept == ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[EN]", "[ZH]", "▁a", "▁dog", "狗"]
    assert [pieces[row] for row in rows] == ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[CLS]", "[CLS]", "▁a", "▁dog", "狗"]
    assert tokenizer.encode("a dog").ids == [1, 6, 7, 2]


def test_a_captioner_begins_with_the_weights_of_the_model_that_it_is_made_of():
    model = CaptionerModel(CONFIG)
    rng = np.random.default_rng(0)
    parameters = dict(model.parameters_and_names())
    theirs = {
        name: rng.normal(size=(20, 8) if name == "cls.predictions.decoder.weight" else p.shape)
        for name, p in parameters.items()
        if "blocks.2" not in name and "transform" not in name
    }
    before = parameters["cls.predictions.transform.dense.weight"].asnumpy().copy()
    rows = np.arange(9) * 2
    set_first_weights(model, theirs, rows)
    np.testing.assert_allclose(
        parameters["cls.predictions.decoder.weight"].asnumpy(), theirs["cls.predictions.decoder.weight"][rows], rtol=1e-6
    )
    second, third = (f"uniter.encoder.decoder.blocks.{i}.attention.dense1.weight" for i in (1, 2))
    np.testing.assert_array_equal(parameters[third].asnumpy(), parameters[second].asnumpy())
    np.testing.assert_allclose(parameters[second].asnumpy(), theirs[second], rtol=1e-6)
    np.testing.assert_array_equal(parameters["cls.predictions.transform.dense.weight"].asnumpy(), before)


def test_a_batch_has_two_captions_of_each_photo_that_begin_with_their_language():
    photos = captioned([[[1, 6, 7, 2]], []], [[[1, 8, 2]], [[1, 7, 7, 2]]], [[], [[1, 6, 2]]])
    tokens, ids, targets = batch_of(photos, CONFIG, VALUES, np.random.default_rng(0), short=True)
    assert tokens.shape == (3, 2, 8) and ids.shape == targets.shape == (6, 6)
    for photo, own, wanted in zip(tokens[:, 0, 0], ids.reshape(3, 2, 6), targets.reshape(3, 2, 6), strict=True):
        if photo == 0:
            assert own.tolist() == [[4, 6, 7, 0, 0, 0], [5, 8, 0, 0, 0, 0]]
            assert wanted.tolist() == [[6, 7, 2, 0, 0, 0], [8, 2, 0, 0, 0, 0]]
        else:  # a photo without English has two Chinese captions, by people where there are any
            assert own.tolist() == [[5, 7, 7, 0, 0, 0]] * 2
            assert wanted.tolist() == [[7, 7, 2, 0, 0, 0]] * 2


def test_machines_captions_are_drawn_where_people_wrote_none_or_as_often_as_is_set():
    photos = captioned([[], []], [[[1, 6, 2]], []], [[[1, 7, 2]], [[1, 8, 2]]])
    rng = np.random.default_rng(0)
    assert {photos.draw(1, rng, 1.0, 9)[0][1][1] for _ in range(20)} == {8}
    assert {photos.draw(0, rng, 1.0, 9)[0][1][1] for _ in range(20)} == {6}
    drawn = [photos.draw(0, rng, 0.5, 9)[0][1][1] for _ in range(400)]
    assert 120 < drawn.count(7) < 280


def test_captions_that_are_too_long_are_left_out():
    photos = captioned([[[1, 6, 6, 6, 6, 6, 6, 6, 2]], [[1, 6, 2]]], [[], []], [[], []])
    tokens, _, _ = batch_of(photos, CONFIG, VALUES, np.random.default_rng(0), short=False)
    assert (tokens[:, 0, 0] == 1).all()
    assert not captioned([[[1] * 30]], [[]], [[]]).has_short()


def test_some_words_are_not_read_but_wanted_all_the_same():
    photos = captioned([[[1, 6, 7, 6, 2]]] * 8, [[]] * 8, [[]] * 8)
    values = {**VALUES, "batch": 50, "unread_words": 0.5}
    _, ids, targets = batch_of(photos, CONFIG, values, np.random.default_rng(0), short=False)
    assert (ids[:, 0] == 4).all() and (ids[:, 4:] == 0).all()
    assert 0.35 < (ids[:, 1:4] == UNKNOWN).mean() < 0.65
    assert (targets[:, :4] == [6, 7, 6, 2]).all()


class _Scored(nn.Cell):
    """Stands for a captioner of five words, which gives these scores whatever it reads."""

    def __init__(self, scores: np.ndarray):
        super().__init__()
        self.config, self.scores = dataclasses.replace(CONFIG, vocab_size=5), Tensor(scores)

    def memory(self, tokens):
        return tokens

    def construct(self, ids, memory):
        return self.scores

    def logits(self, states):
        return states


def test_the_loss_is_the_cross_entropy_with_smoothed_labels_over_what_is_no_padding():
    use_device()
    scores = np.random.default_rng(1).normal(size=(2, 3, 5)).astype(np.float32)
    targets = np.array([[3, 2, 0], [4, 0, 0]], np.int32)
    found = CaptionObjective(_Scored(scores), 0.1, 0.0)(
        Tensor(np.zeros((1, 2, 8), np.float32)), Tensor(targets), Tensor(targets)
    )
    log_probabilities = scores - np.log(np.exp(scores).sum(-1, keepdims=True))
    wanted = [
        0.9 * log_probabilities[row, at, word] + 0.1 / 4 * np.delete(log_probabilities[row, at], word).sum()
        for row, at, word in ((0, 0, 3), (0, 1, 2), (1, 0, 4))
    ]
    np.testing.assert_allclose(found.asnumpy(), -np.mean(wanted), rtol=1e-5)


def test_the_perplexity_of_a_captioner_that_knows_nothing_is_the_number_of_words():
    use_device()
    objective = CaptionObjective(_Scored(np.zeros((128, 6, 5), np.float32)), 0.0, 0.0)
    photos = captioned([[[1, 3, 2]]], [[]], [[]])
    assert perplexities(objective, photos) == {"en perplexity": pytest.approx(5.0, rel=1e-4)}
