"""Heat maps of words in a photo, and the explanations that the engine makes of them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from encoder import open_encoder
from encoder.inputs.pixels import prepare
from search import Engine, Query
from search.errors import NoHeatMap, NothingToExplain
from search.explanation import words_in
from search.heat_map import heat_map, sentence_attention, token_attention
from storage.errors import UnknownId
from tests.support.fakes import FakeConfig, FakeEncoder, photo
from tests.support.galleries import build_gallery
from tests.support.small_models import SMALL_MINI, write_small_model

LOOKS = np.arange(2 * 4 * 5, dtype=np.float64).reshape(2, 4, 5)
"""Two layers, four text tokens of which the last is padding, a class token and four cells."""


def test_sentence_attention_averages_its_tokens_and_takes_the_first_token_of_the_last_layer():
    assert sentence_attention(LOOKS, 3).tolist() == ((LOOKS[0, :3].mean(0) + LOOKS[1, 0]) / 2).tolist()


def test_sentence_attention_of_a_single_layer_is_that_of_the_first_token():
    assert sentence_attention(LOOKS[:1], 3).tolist() == LOOKS[0, 0].tolist()


def test_token_attention_leaves_out_the_last_layer():
    assert token_attention(LOOKS, [2]).tolist() == LOOKS[0, 2].tolist()
    assert token_attention(LOOKS[:1], [2]).tolist() == LOOKS[0, 2].tolist()
    assert token_attention(LOOKS, [1, 2]).tolist() == LOOKS[0, 1:3].mean(0).tolist()


@pytest.mark.parametrize(
    ("sentence", "spans", "words"),
    [
        ("looks up", [(0, 0), (0, 4), (4, 5), (6, 8), (8, 8)], [([1, 2], "looks"), ([3], "up")]),
        ("looks up", [(0, 4), (4, 5), (5, 8)], [([0, 1], "looks"), ([2], "up")]),
        ("红色bus", [(0, 1), (1, 2), (2, 5)], [([0], "红"), ([1], "色"), ([2], "bus")]),
        ("a dog's", [(0, 1), (2, 5), (5, 6), (6, 7)], [([0], "a"), ([1], "dog"), ([2], "'"), ([3], "s")]),
        ("", [(0, 0), (0, 0)], []),
    ],
    ids=["pieces", "pieces with the space before them", "Chinese", "signs", "nothing"],
)
def test_pieces_of_a_word_are_joined(sentence, spans, words):
    assert words_in(sentence, spans) == words


def test_the_class_token_is_not_in_the_heat_map():
    assert heat_map(np.array([99, 1, 3, 2, 5]), (2, 2)).tolist() == [[0, 0.5], [0.25, 1]]


@given(hnp.arrays(np.float32, st.integers(6, 9), elements=st.floats(0, 1, width=32)))
def test_heat_lies_between_0_and_1_and_keeps_the_order(weights):
    heat = heat_map(weights, (2, 3))
    cells = weights[-6:].reshape(2, 3)
    assert heat.shape == (2, 3) and ((heat >= 0) & (heat <= 1)).all()
    if np.ptp(cells) > 0:
        assert heat.min() == 0 and heat.max() == 1
        assert (heat[cells == cells.max()] == 1).all()
    else:
        assert not heat.any()


@pytest.fixture
def engine(tmp_path):
    return Engine(build_gallery(tmp_path), FakeEncoder())


def test_each_photo_is_explained(engine):
    first, second = engine.explain(Query(text="red wall"), [1, 3])

    assert (first.image_id, second.image_id, first.version, first.sentence) == (1, 3, 1, "red wall")
    assert first.match_logit > second.match_logit
    assert [word for word, _ in first.words] == ["red"]
    assert first.words[0][1].tolist() == [[1, 0, 0]]  # the fake's token 1 looks at cell 1
    answer = first.as_json()
    assert json.loads(json.dumps(answer, allow_nan=False)) == answer and answer["grid"] == [1, 3]


def test_the_positive_words_of_a_sum_are_explained(engine):
    (found,) = engine.explain(Query(text="2*red wall -snow", image_id=2), [1])
    assert found.sentence == "red wall"


@pytest.mark.parametrize("query", [
    Query(image_id=1), Query(text="red", to="captions"), Query(text="@1"), Query(image=np.zeros((32, 32, 3), np.uint8)),
])  # fmt: skip
def test_without_a_sentence_there_is_nothing_to_explain(engine, query):
    with pytest.raises(NothingToExplain, match="ask for photos, with words"):
        engine.explain(query, [1])


def test_a_model_without_attention_is_named(tmp_path):
    encoder = FakeEncoder(config=FakeConfig(name="blind", token_grid=None))
    engine = Engine(build_gallery(tmp_path), encoder)
    with pytest.raises(NoHeatMap, match="^blind can't show where in a photo it looks.*$"):
        engine.explain(Query(text="red"), [1])
    assert engine.search(Query(text="red")).reranked


def test_an_unknown_photo_is_refused(engine):
    with pytest.raises(UnknownId, match="4711"):
        engine.explain(Query(text="red"), [4711])


def test_a_real_network_has_maps_of_words_on_its_grid(tmp_path):
    encoder = open_encoder(write_small_model(tmp_path / "model"))
    collection = build_gallery(tmp_path, encoder=encoder)

    (found,) = Engine(collection, encoder).explain(Query(text="a Red car 红色"), [1])

    pixels = prepare(photo("red", (96, 64)), SMALL_MINI.image_size, SMALL_MINI.preprocessing)
    texts = encoder.encode_texts(["a Red car 红色"])
    tokens = encoder.encode_images(pixels[None]).tokens
    looks = encoder.explain(texts, tokens)[0]
    assert [word for word, _ in found.words] == ["a", "Red", "car", "红", "色"]
    assert found.heat.shape == SMALL_MINI.token_grid == (2, 2)
    np.testing.assert_allclose(found.heat, heat_map(sentence_attention(looks, 7), (2, 2)), atol=0.02)
    np.testing.assert_allclose(found.words[1][1], heat_map(looks[0, 2], (2, 2)), atol=0.02)
    assert found.match_logit == pytest.approx(float(encoder.match(texts, tokens)[0]), abs=2e-2)
