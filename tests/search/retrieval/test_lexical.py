"""Lexical search in captions of both languages, alone and fused with vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search import BadQuery, Engine, Query
from search.query.terms import parse_terms
from search.retrieval.lexical import LexicalIndex, tokens, words_of
from search.retrieval.ranking import RRF, first_stage_ranking, fuse
from tests.support.fakes import FakeEncoder
from tests.support.galleries import Shot, build_gallery

SHOTS = [
    Shot("beach.jpg", "red", captions=[("en", "Two dogs are running on the beach."), ("zh", "两只狗在海滩上奔跑。")]),
    Shot("cat.jpg", "green", captions=[("en", "A cat sleeps."), ("zh", "一只猫在睡觉。")]),
    Shot("sea.jpg", "blue", captions=[("en", "A dog's bowl by the sea"), ("en", "people at the beach")]),
    Shot("snow.jpg", "white", captions=[("zh", "雪地里的狗")]),
    Shot("none.jpg", "black"),
]


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    return Engine(build_gallery(tmp_path_factory.mktemp("home"), SHOTS), FakeEncoder())


def names_of(snapshot, ids) -> list[str]:
    return [Path(image.uri).stem for image in snapshot.images(ids)]


def names(result) -> list[str]:
    return [Path(hit.uri).stem for hit in result.hits]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Running DOGS", ["run", "dog"]),
        ("the dog's t-shirt", ["the", "dog", "t", "shirt"]),
        ("海滩上的狗", ["海", "滩", "上", "的", "狗", "海滩", "滩上", "上的", "的狗"]),
        ("DVD光盘 2", ["dvd", "2", "光", "盘", "光盘"]),
        ("ＡＢＣ", ["abc"]),
        ("頭髮", ["头", "发", "头发"]),
        ("餅乾 和 乾隆", ["饼", "干", "饼干", "和", "乾", "隆", "乾隆"]),
        ("?!。", []),
    ],
)
def test_tokens_of_a_text(text, found):
    assert tokens(text) == found


@pytest.mark.parametrize(("query", "found"), [
    ("dog", ["sea", "beach"]), ("a running dog", ["beach", "sea", "cat"]), ("狗", ["snow", "beach"]), ("海滩", ["beach"]),
    ("一隻貓", ["cat", "beach"]), ("海灘", ["beach"]), ("狗 -海灘", ["snow"]),
    ("beach -people", ["beach"]), ('dog -"two dogs"', ["sea"]), ("3*sleeping + dog", ["cat"]), ("xyzzy", []), ("?", []),
])  # fmt: skip
def test_photos_are_found_by_the_words_of_their_captions(engine, query, found):
    result = engine.search(Query(text=query, mode="lexical"))

    assert names(result)[: len(found)] == found
    assert (result.total == len(result.hits)) and (found or not result.hits)
    assert [hit.lexical_rank for hit in result.hits] == [hit.rank for hit in result.hits]
    assert result.reranked == 0 and all(hit.match_logit is None for hit in result.hits)


def test_lexical_search_encodes_nothing(engine):
    encoder = FakeEncoder()
    Engine(engine._snapshots._collection, encoder).search(Query(text="dog", mode="lexical"))
    assert encoder.calls == []


def test_lexical_search_finds_captions_within_a_filter(engine):
    hits = engine.search(Query(text="dog 狗", to="captions", mode="lexical", where="language = 'zh'")).hits
    assert [hit.text for hit in hits] == ["雪地里的狗", "两只狗在海滩上奔跑。"]


def test_hybrid_search_fuses_vectors_and_words_by_their_ranks(engine):
    by_vector = engine.search(Query(text="a blue dog", top=10)).hits
    by_words = engine.search(Query(text="a blue dog", top=10, mode="lexical")).hits

    hits = engine.search(Query(text="a blue dog", top=10, mode="hybrid")).hits

    words = {hit.id: 1 / (RRF + hit.rank) for hit in by_words}
    without_english = {i for i, name in enumerate(("beach", "cat", "sea", "snow", "none"), 1) if name in ("snow", "none")}
    expected = {hit.id: 1 / (RRF + hit.rank) for hit in by_vector}
    expected |= {own: score + (score if own in without_english else words.get(own, 0)) for own, score in expected.items()}
    assert {hit.id: hit.score for hit in hits} == pytest.approx(expected)
    assert [hit.id for hit in hits] == sorted(expected, key=lambda own: (-expected[own], own)) and len(hits) == 5
    assert {hit.id: hit.match_logit for hit in hits} == {hit.id: hit.match_logit for hit in by_vector}


def test_hybrid_pages_continue_one_list(engine):
    whole = engine.search(Query(text="a blue dog", top=10, mode="hybrid")).hits
    first = engine.search(Query(text="a blue dog", top=2, mode="hybrid"))
    rest = engine.search(Query(text="a blue dog", top=9, mode="hybrid", cursor=first.cursor))
    assert first.hits + rest.hits == whole


def test_a_photo_alone_has_no_words(engine):
    with pytest.raises(BadQuery, match="There are no words to look for"):
        Query(image_id=1, mode="lexical")
    assert engine.search(Query(image_id=1, mode="hybrid")).hits == engine.search(Query(image_id=1)).hits
    with pytest.raises(BadQuery, match="Can't search by 'magic': choose vector, lexical, hybrid"):
        Query(text="dog", mode="magic")


def test_a_caption_can_be_hidden(engine):
    snapshot = engine._snapshots.get()
    (hidden,) = (c for c in snapshot.captions(snapshot.caption_ids()) if c.text.startswith("Two dogs"))

    found = words_of(snapshot).find(parse_terms("dogs"), "images", hidden=[hidden.caption_id])

    assert snapshot.images(found.ids)[0].uri.endswith("sea.jpg") and len(found.ids) == 1
    assert names_of(snapshot, found.searchable_ids) == ["cat", "sea"]


@pytest.mark.parametrize(
    ("query", "speaking"),
    [
        ("dog", ["beach", "cat", "sea"]),
        ("狗", ["beach", "cat", "snow"]),
        ("dog 狗", ["beach", "cat", "sea", "snow"]),
        ("?", []),
    ],
)
def test_only_photos_with_captions_in_the_querys_script_are_searchable(engine, query, speaking):
    snapshot = engine._snapshots.get()
    assert names_of(snapshot, words_of(snapshot).find(parse_terms(query), "images").searchable_ids) == speaking


def test_without_captions_hybrid_search_is_vector_search(tmp_path):
    engine = Engine(build_gallery(tmp_path, [Shot(f"{i}.png", (i, 9 * i, 70)) for i in range(20)]), FakeEncoder())
    hybrid, vector = ([hit.id for hit in engine.search(Query(text="red", mode=mode)).hits] for mode in ("hybrid", "vector"))
    assert hybrid == vector


@pytest.mark.parametrize("shots", [[SHOTS[-1]], [Shot("a.jpg", "red", captions=[("en", "?!")])]])
def test_a_collection_without_words_has_none_to_find(tmp_path, shots):
    engine = Engine(build_gallery(tmp_path, shots), FakeEncoder())
    for to in ("images", "captions"):
        assert engine.search(Query(text="red", mode="lexical", to=to)).hits == []
        assert len(engine.search(Query(text="red", mode="hybrid", to=to)).hits) == engine.search(Query(text="red", to=to)).total


@settings(max_examples=60)
@given(st.lists(st.text("ab 狗猫?", max_size=8), min_size=1, max_size=8), st.text("abc 狗海?", max_size=8))
def test_a_text_scores_if_it_shares_a_word(texts, query):
    index, words = LexicalIndex(texts), set(tokens(query))
    assert (index.scores(query) > 0).tolist() == [bool(words & set(tokens(text))) for text in texts]
    assert index.with_all_words(query).tolist() == [bool(words) and words <= set(tokens(text)) for text in texts]


@given(st.permutations(range(1, 9)), st.lists(st.integers(1, 8), unique=True), st.sets(st.integers(1, 8)))
def test_fusion_keeps_everything_once(order, lexical, silent):
    lexical = [own for own in lexical if own not in silent]
    ranking = first_stage_ranking(np.array(order), -np.arange(8.0))
    scores = 9.0 - np.arange(len(lexical))
    fused = fuse(ranking, np.array(lexical, np.int64), scores, np.array([own for own in range(1, 9) if own not in silent]))
    fused_scores = {int(own): score for own, score in zip(fused.ids, fused.lexical_scores, strict=True) if not np.isnan(score)}
    assert fused_scores == dict(zip(lexical, scores, strict=True))
    own_score = {own: 1 / (RRF + 1 + order.index(own)) for own in order}
    by_words = {own: 1 / (RRF + 1 + lexical.index(own)) for own in lexical} | {own: own_score[own] for own in silent}
    score = {own: own_score[own] + by_words.get(own, 0) for own in order}
    assert fused.ids.tolist() == sorted(order, key=lambda own: (-score[own], own))
    assert (np.diff(fused.scores) <= 0).all()


def test_simplified_words_find_traditional_captions(tmp_path):
    shots = [
        Shot("cat.jpg", "red", captions=[("zh", "一隻貓在睡覺")]),
        Shot("dog.jpg", "green", captions=[("zh", "頭髮很長的狗")]),
    ]
    engine = Engine(build_gallery(tmp_path, shots), FakeEncoder())
    for words, found in (("猫", ["cat"]), ("貓", ["cat"]), ("睡觉", ["cat"]), ("头发", ["dog"]), ("頭髮", ["dog"])):
        assert names(engine.search(Query(text=words, mode="lexical"))) == found
