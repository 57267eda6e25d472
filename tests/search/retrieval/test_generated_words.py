"""Words of captions that a model wrote count less than people's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.captioning import Wanted, write_captions
from search import Engine, Query
from search.errors import NothingToMeasure
from search.evaluation.evaluate import BOTH, GENERATED, PEOPLE, evaluate
from search.evaluation.trec import Names
from search.query.terms import parse_terms
from search.retrieval.lexical import GENERATED_WEIGHT, words_of
from search.retrieval.ranking import RRF, first_stage_ranking, fuse
from storage import Home
from tests.support.captioners import ColourWriter
from tests.support.fakes import FakeEncoder
from tests.support.galleries import Shot, build_gallery, ids_by_name

SHOTS = [
    Shot("red.jpg", "red", captions=[("en", "painted bricks")]),
    Shot("green.jpg", "green", captions=[("en", "a green lawn")]),
    Shot("blue.jpg", "blue"),
]
TRUST = st.lists(st.floats(0, 1), min_size=6, max_size=6)


@pytest.fixture
def gallery(tmp_path):
    gallery = build_gallery(tmp_path, SHOTS)
    write_captions(Home(tmp_path / "var"), "default", FakeEncoder(), ColourWriter(), Wanted(where="not name = 'red.jpg'"))
    return gallery


def test_their_scores_are_weighed_and_so_is_the_trust_in_them(gallery):
    snapshot, ids = gallery.open_snapshot(), ids_by_name(gallery)
    found = words_of(snapshot).find(parse_terms("painted"), "images")
    assert found.ids[0] == ids["red"] and set(found.ids.tolist()) == set(ids.values())
    assert dict(zip(found.searchable_ids.tolist(), found.trust.tolist(), strict=True)) == {
        ids["red"]: 1, ids["green"]: 1, ids["blue"]: GENERATED_WEIGHT,
    }  # fmt: skip
    captions = words_of(snapshot).find(parse_terms("painted"), "captions")
    assert [caption.generated for caption in snapshot.captions(captions.ids)] == [False, True, True]


@given(st.permutations(range(1, 7)), st.lists(st.integers(1, 6), unique=True), TRUST)
def test_fusion_lies_between_words_and_vectors_by_trust(order, lexical, trust):
    ranking = first_stage_ranking(np.array(order), -np.arange(6.0))
    fused = fuse(ranking, np.array(lexical, np.int64), np.ones(len(lexical)), np.arange(1, 7), np.array(trust))
    for own, score in zip(fused.ids.tolist(), fused.scores, strict=True):
        by_vector = 1 / (RRF + 1 + order.index(own))
        by_words = 1 / (RRF + 1 + lexical.index(own)) if own in lexical else 0
        assert score == pytest.approx(by_vector + trust[own - 1] * by_words + (1 - trust[own - 1]) * by_vector)


def test_an_evaluation_asks_people_and_finds_words_where_it_is_told(gallery):
    snapshot, encoder = gallery.open_snapshot(), FakeEncoder()

    def measured(words):
        (row,) = evaluate(snapshot, encoder, rerank=[0], languages=["en"], mode="lexical", words=words)["results"]
        assert row["queries"] == 2
        return row["R@1"]

    # Only the written caption of its own photo has a word of "a green lawn" that the photo's hidden caption has not.
    assert measured(PEOPLE) == 0 and measured(GENERATED) == measured(BOTH) == 50
    assert set(Names(snapshot).captions) == set(snapshot.caption_ids(generated=False).tolist())
    row = evaluate(snapshot, encoder, rerank=[0], languages=["en"])["results"][1]
    assert (row["direction"], row["queries"]) == ("image_to_text", 2)


def test_a_collection_that_a_model_described_has_nothing_to_measure(tmp_path):
    gallery = build_gallery(tmp_path, SHOTS[2:])
    write_captions(Home(tmp_path / "var"), "default", FakeEncoder(), ColourWriter(), Wanted())
    with pytest.raises(NothingToMeasure):
        evaluate(gallery.open_snapshot(), FakeEncoder(), languages=["en"])


def test_hits_tell_who_wrote(gallery):
    engine = Engine(gallery, FakeEncoder())
    (hit,) = engine.search(Query(text="blue", mode="lexical", rerank=0)).hits
    assert [(one.origin, one.log_probability) for one in hit.captions] == [("generated:feed000000000001", -2.0)]
    (hit,) = engine.search(Query(text="bricks", mode="lexical", to="captions", rerank=0)).hits
    assert (hit.origin, hit.log_probability) == ("gallery", None)
