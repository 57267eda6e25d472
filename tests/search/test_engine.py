from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from encoder.inputs.pixels import prepare
from encoder.query_bank import QueryBank
from search import BadQuery, Engine, Query, StaleIndex
from storage import Home
from storage.errors import BadFilter, EmptyCollection, UnknownId
from tests.support.fakes import FakeConfig, FakeEncoder, photo
from tests.support.galleries import COLOURFUL, Shot, build_gallery, ids_by_name


@pytest.fixture
def encoder():
    return FakeEncoder()


@pytest.fixture
def gallery(tmp_path, encoder):
    collection = build_gallery(tmp_path, encoder=encoder)
    encoder.calls.clear()
    return collection


@pytest.fixture
def engine(gallery, encoder):
    return Engine(gallery, encoder)


def names(result) -> list[str]:
    return [Path(hit.uri).stem for hit in result.hits]


@pytest.mark.parametrize(
    ("sentence", "first"), [("something red", "red"), ("绿色的东西", "green"), ("blue 蓝", "blue"), ("黑", "black")]
)
def test_a_sentence_finds_its_photo_in_either_language(engine, sentence, first):
    assert names(engine.search(Query(text=sentence)))[0] == first


def test_a_hit_has_its_ranks_scores_and_record(engine, gallery):
    hit = engine.search(Query(text="a red thing", top=1)).hits[0]

    assert hit.id == ids_by_name(gallery)["red"]
    assert (hit.rank, hit.first_stage_rank) == (1, 1)
    assert (hit.width, hit.height) == (96, 64)
    assert hit.metadata == {"name": "red.jpg"}
    assert [caption.text for caption in hit.captions] == ["a red wall", "all of it is red", "红色的墙"]
    assert hit.score == pytest.approx(hit.match_logit + 1.0 * hit.first_stage_score)


def test_the_best_k_candidates_are_re_ranked(engine, encoder):
    result = engine.search(Query(text="something red", rerank=4))

    assert encoder.calls == [("encode_texts", 1), ("match", 4)]
    assert result.reranked == 4
    assert [hit.match_logit is not None for hit in result.hits] == [True] * 4 + [False] * 2
    scores = [hit.score for hit in result.hits]
    assert scores == sorted(scores, reverse=True)


def test_reranking_can_reverse_the_order(gallery, encoder, engine):
    encoder.match = lambda texts, tokens: np.arange(len(tokens), dtype=np.float32) * 100

    before = engine.search(Query(text="something red", rerank=0))
    after = engine.search(Query(text="something red", rerank=3))

    assert names(after) == names(before)[2::-1] + names(before)[3:]
    assert [hit.first_stage_rank for hit in after.hits] == [3, 2, 1, 4, 5, 6]


def test_without_reranking_the_encoder_reads_no_pair(engine, encoder):
    result = engine.search(Query(text="something red", rerank=0))

    assert encoder.calls == [("encode_texts", 1)]
    assert all(hit.match_logit is None and hit.score == hit.first_stage_score for hit in result.hits)


def test_a_photo_finds_sentences(engine, encoder):
    image = prepare(photo("blue"), encoder.config.image_size)

    result = engine.search(Query(image=image, to="captions", top=3, rerank=5, label="mine.jpg"))

    assert [hit.text for hit in result.hits[:2]] == ["the blue sky", "蓝色的天空"]
    assert [hit.language for hit in result.hits[:2]] == ["en", "zh"]
    assert Path(result.hits[0].image.uri).name == "blue.png"
    assert encoder.calls == [("encode_images", 1), ("encode_texts", 5), ("match", 5)]
    assert result.as_json()["query"] == "mine.jpg"


def test_a_photo_finds_photos_without_reranking(engine, encoder):
    image = prepare(photo((200, 40, 40)), encoder.config.image_size)

    result = engine.search(Query(image=image, rerank=32))

    assert names(result)[0] == "red"
    assert result.reranked == 0 and result.hits[0].match_logit is None
    assert encoder.calls == [("encode_images", 1)]


def test_more_like_this_leaves_the_photo_itself_out_and_encodes_nothing(engine, encoder, gallery):
    red = ids_by_name(gallery)["red"]

    result = engine.search(Query(image_id=red))

    assert "red" not in names(result) and len(result.hits) == result.total == len(COLOURFUL) - 1
    assert [hit.first_stage_rank for hit in result.hits] == [1, 2, 3, 4, 5]
    assert encoder.calls == []


def test_captions_that_fit_a_photo_of_the_collection(engine, encoder, gallery):
    result = engine.search(Query(image_id=ids_by_name(gallery)["yellow"], to="captions", top=2))

    assert {hit.text for hit in result.hits} == {"a yellow field", "黄色的田野"}
    assert encoder.calls == [("encode_texts", 10), ("match", 10)]


def test_a_sentence_finds_sentences_without_reranking(engine, encoder):
    result = engine.search(Query(text="green", to="captions", top=2))

    assert {hit.text for hit in result.hits} == {"a green meadow", "绿色的草地"}
    assert encoder.calls == [("encode_texts", 1)]


def test_pages_together_are_the_whole_list(engine):
    whole = engine.search(Query(text="red", top=6, rerank=2))
    pages = [engine.search(Query(text="red", top=2, offset=offset, rerank=2)) for offset in (0, 2, 4, 6)]

    hits = [hit for page in pages for hit in page.hits]
    assert hits == whole.hits
    assert [hit.rank for hit in hits] == [1, 2, 3, 4, 5, 6]
    assert pages[-1].hits == []


def test_pages_agree_if_photos_are_alike(tmp_path, encoder):
    shots = [Shot(f"{i}.jpg", "red") for i in range(12)] + [Shot("blue.jpg", "blue")]
    engine = Engine(build_gallery(tmp_path, shots, encoder), encoder)

    pages = [engine.search(Query(text="red", top=3, offset=offset, rerank=0)) for offset in (0, 3, 6, 9, 12)]

    ids = [hit.id for page in pages for hit in page.hits]
    assert ids == sorted(ids) and len(ids) == 13


@pytest.mark.parametrize("wanted", [{"top": 1000}, {"rerank": 1000}, {"offset": 2**62}])
def test_asking_for_more_than_there_is_is_fine(engine, wanted):
    assert engine.search(Query(text="red", **wanted)).total == 6


def test_a_collection_without_captions_has_none_to_find(tmp_path, encoder):
    engine = Engine(build_gallery(tmp_path, [Shot("a.jpg", "red")], encoder), encoder)

    assert engine.search(Query(text="red", to="captions")).hits == []
    assert engine.search(Query(image_id=1, to="captions")).hits == []
    assert engine.search(Query(image_id=1)).hits == []
    assert engine.search(Query(text="red")).hits[0].captions == []


def test_the_answer_is_plain_json(engine):
    answer = engine.search(Query(text="红", top=2)).as_json()

    assert json.loads(json.dumps(answer, allow_nan=False)) == answer
    assert list(answer) == [
        "query", "image_id", "terms", "to", "mode", "where", "offset", "total", "reranked", "version", "cursor", "relevance",
        "notices", "hits", "took_ms",
    ]  # fmt: skip
    assert {"id", "uri", "score", "first_stage_score", "first_stage_rank", "match_logit", "captions"} <= set(answer["hits"][0])
    assert list(answer["took_ms"]) == ["encode", "filter", "first_stage", "rerank", "lexical", "fold", "fetch", "total"]
    assert answer["took_ms"]["total"] >= sum(answer["took_ms"][s] for s in ("encode", "first_stage", "rerank", "fetch"))


def test_a_caption_hit_has_its_text_and_its_photo(engine):
    hit = engine.search(Query(text="snow, white", to="captions", top=1)).as_json()["hits"][0]

    assert (hit["text"], hit["language"]) == ("white snow", "en")
    assert set(hit["image"]) == {"id", "uri", "width", "height"}


def test_photos_of_a_later_version_are_found(tmp_path, encoder):
    collection = build_gallery(tmp_path, COLOURFUL[1:], encoder)
    engine = Engine(collection, encoder)
    first = engine.search(Query(text="red"))

    build_gallery(tmp_path, COLOURFUL[:1], encoder)
    second = engine.search(Query(text="red"))

    assert "red" not in names(first) and names(second)[0] == "red"
    assert second.version == first.version + 1


def test_a_version_is_opened_once(gallery, encoder):
    opened = []
    open_snapshot = gallery.open_snapshot
    gallery.open_snapshot = lambda: opened.append(1) or open_snapshot()
    engine = Engine(gallery, encoder)

    for _ in range(5):
        engine.search(Query(text="red"))

    assert opened == [1]


def test_an_index_of_other_weights_is_refused_with_the_remedy(gallery):
    engine = Engine(gallery, FakeEncoder(fingerprint="other00000000002"))

    with pytest.raises(StaleIndex, match="The index was made by the weights") as raised:
        engine.search(Query(text="red"))
    assert "fake000000000001" in str(raised.value) and "other00000000002" in str(raised.value)


def test_an_empty_collection_is_refused(tmp_path, encoder):
    with pytest.raises(EmptyCollection):
        Engine(Home(tmp_path).create_collection("default"), encoder).search(Query(text="red"))


def test_an_unknown_photo_is_refused(engine):
    with pytest.raises(UnknownId, match="4711"):
        engine.search(Query(image_id=4711))


def calibrated(gallery, calibration):
    return Engine(gallery, FakeEncoder(config=FakeConfig(match_calibration=calibration)))


def test_re_ranked_hits_have_match_probabilities(gallery):
    a, m, b = calibration = (0.8, -0.1, 0.3)

    hits = calibrated(gallery, calibration).search(Query(text="red", rerank=4)).hits

    scores = np.array([hit.score for hit in hits[:4]])
    expected = 1 / (1 + np.exp(-(a * scores + m * scores.mean() + b)))
    assert [hit.match_probability for hit in hits[:4]] == pytest.approx(expected.tolist())
    assert [hit.match_probability for hit in hits[4:]] == [None, None]


@pytest.mark.parametrize(("offset", "word"), [(9, "strong"), (-2, "weak"), (-9, "none")])
def test_relevance_is_that_of_the_best_hit_whatever_the_page(gallery, offset, word):
    engine = calibrated(gallery, (1.0, 0.0, offset))

    pages = [engine.search(Query(text="red", top=2, offset=at, rerank=4)) for at in (0, 2, 4, 100)]

    assert {page.relevance for page in pages} == {word}
    assert pages[-1].hits == [] and pages[2].hits[0].match_probability is None


def test_captions_of_a_photo_have_match_probabilities_too(gallery):
    result = calibrated(gallery, (1.0, 0.0, 0.0)).search(Query(image_id=1, to="captions", rerank=3))

    assert [hit.match_probability is not None for hit in result.hits[:4]] == [True, True, True, False]
    assert result.relevance == "strong"


@pytest.mark.parametrize(
    "query", [Query(text="red", rerank=0), Query(image_id=1), Query(text="red", to="captions")], ids=lambda q: q.to
)
def test_without_re_ranking_relevance_is_not_known(gallery, query):
    result = calibrated(gallery, (1.0, 0.0, 0.0)).search(query)

    assert result.relevance is None and result.hits
    assert all(hit.match_probability is None for hit in result.hits)


def test_without_a_calibration_relevance_is_not_known(engine):
    result = engine.search(Query(text="red"))

    assert result.relevance is None and all(hit.match_probability is None for hit in result.hits)


def test_many_threads_get_the_same_answer(engine):
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: engine.search(Query(text="red")).hits, range(40)))

    assert all(hits == results[0] for hits in results)


def with_bank(gallery, weights) -> Engine:
    """An engine whose query bank has red sentences in English, green ones in Chinese, and a blue photo."""
    colours = FakeEncoder().encode_texts(["red", "绿", "blue"]).vectors
    bank = QueryBank({"en": colours[:1], "zh": colours[1:2]}, colours[2:])
    return Engine(gallery, FakeEncoder(config=FakeConfig(hub_weights=weights), query_bank=bank))


def test_a_hub_of_the_querys_language_ranks_lower(gallery):
    def scores(query: Query, weights) -> dict[str, float]:
        hits = with_bank(gallery, weights).search(query).hits
        return {hit.text if query.to == "captions" else Path(hit.uri).stem: hit.score for hit in hits}

    for sentence, hub in (("white", "red"), ("白", "green")):
        free, costly = (scores(Query(text=sentence), weights) for weights in ((0.0, 0.0), (0.5, 0.0)))
        costs = {name: free[name] - costly[name] for name in free}
        assert max(costs, key=costs.get) == hub and costs[hub] == pytest.approx(0.5, abs=1e-3)

    query = Query(image_id=ids_by_name(gallery)["white"], to="captions")
    free, costly = (scores(query, weights) for weights in ((0.5, 0.0), (0.5, 1.0)))
    costs = {text: free[text] - costly[text] for text in free}
    assert "blue" in max(costs, key=costs.get) or "蓝" in max(costs, key=costs.get)


def test_hub_costs_do_not_change_match_probabilities(gallery):
    first = with_bank(gallery, (0.0, 0.0)).search(Query(text="red")).hits[0]
    config = FakeConfig(hub_weights=(0.5, 0.0), match_calibration=(1.0, 0.0, 0.0))
    bank = QueryBank({"en": FakeEncoder().encode_texts(["red"]).vectors}, np.ones((0, 16), np.float32))
    encoder = FakeEncoder(config=config, query_bank=bank)

    hits = {hit.id: hit for hit in Engine(gallery, encoder).search(Query(text="red")).hits}

    assert hits[first.id].match_probability == pytest.approx(1 / (1 + np.exp(-first.score)), abs=1e-6)


def test_negative_terms_rank_lower(engine):
    plain = names(engine.search(Query(text="red", rerank=0)))
    avoiding = names(engine.search(Query(text="red -yellow", rerank=0)))

    assert avoiding.index("yellow") > plain.index("yellow")


def test_weights_decide_between_two_terms(engine):
    assert names(engine.search(Query(text="3*red + blue", rerank=0)))[0] == "red"
    assert names(engine.search(Query(text="red + 3*blue", rerank=0)))[0] == "blue"


def test_a_sum_is_scored_by_the_combined_vector(engine, encoder, gallery):
    ids, snapshot = ids_by_name(gallery), gallery.open_snapshot()
    image = prepare(photo("blue"), encoder.config.image_size)

    result = engine.search(Query(text=f"2*yellow + photo -@{ids['red']}", image=image, rerank=0))

    expected = 2 * encoder.encode_texts(["yellow"]).vectors[0] + encoder.encode_images(image[None]).vectors[0]
    expected = expected - snapshot.image_vectors([ids["red"]])[0]
    scores = snapshot.image_vectors([hit.id for hit in result.hits]) @ (expected / np.linalg.norm(expected))
    assert [hit.score for hit in result.hits] == pytest.approx(scores.tolist(), abs=1e-3)


def test_the_words_of_a_sum_are_re_ranked_as_one_sentence(engine, encoder):
    read = []
    encoder.encode_texts = lambda texts: read.append(texts) or FakeEncoder.encode_texts(encoder, texts)
    image = prepare(photo("blue"), encoder.config.image_size)

    result = engine.search(Query(text="2*red wall -snow + photo", image=image, rerank=4))

    assert read == [["red", "wall", "snow"], ["red wall"]] and result.reranked == 4


def test_captions_like_a_caption_leave_it_out(engine, gallery, encoder):
    caption = next(c for c in gallery.open_snapshot().captions([1, 2, 3]) if c.text == "a red wall")

    result = engine.search(Query(text=f"@c{caption.caption_id}", to="captions", top=2))

    assert [hit.text for hit in result.hits] == ["all of it is red", "红色的墙"] and result.total == 9
    assert encoder.calls == []
    assert names(engine.search(Query(text=f"@c{caption.caption_id}", top=1))) == ["red"]


def test_a_photo_with_words_finds_captions(engine, gallery, encoder):
    result = engine.search(Query(text="at night", image_id=ids_by_name(gallery)["blue"], to="captions", rerank=3))

    assert result.reranked == 3 and ("match", 3) in encoder.calls


def test_terms_that_cancel_out_are_refused(engine):
    with pytest.raises(BadQuery, match="cancel each other out"):
        engine.search(Query(text="red -red"))


def test_only_photos_that_pass_the_filter_are_found(engine):
    result = engine.search(Query(text="red", where="language = 'zh' and width >= 90", top=10))

    assert set(names(result)) == {"red", "blue"} and result.total == 2
    texts = engine.search(Query(text="red", to="captions", where="language = 'zh' and width >= 90")).hits
    assert [hit.text for hit in texts] == ["红色的墙", "蓝色的天空"]


def test_a_filter_that_nothing_passes_finds_nothing(engine):
    result = engine.search(Query(text="red", where="width > 100000"))

    assert result.hits == [] and result.total == result.reranked == 0


def test_more_like_this_with_a_filter_leaves_the_photo_out(engine, gallery):
    result = engine.search(Query(image_id=ids_by_name(gallery)["red"], where="width = 96"))

    assert set(names(result)) == {"white", "black"} and result.total == 2


def test_a_filter_that_names_no_column_is_an_error(engine):
    with pytest.raises(BadFilter, match=r"character 13 \('heigth > 3'\): no column is called heigth: did you mean height\?"):
        engine.search(Query(text="red", where="width>2 and heigth > 3"))
