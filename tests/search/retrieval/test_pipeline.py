"""The rankings that evaluation measures are those that the engine serves."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import search.retrieval.pipeline
from search import Engine, Query
from search.evaluation.evaluate import DEEPEST_KEPT, Answer, evaluate
from search.evaluation.protocols import PROTOCOLS, Protocol
from search.evaluation.topics import Topic
from search.evaluation.unanswerable import measure, plan
from search.query.query_photo import read_stored
from search.query.terms import as_plain
from tests.support.fakes import FakeConfig, FakeEncoder
from tests.support.galleries import Shot, build_gallery

WORDS = ["dog", "cat", "sea", "beach", "red", "blue", "running", "sleeping", "tree", "house"]
CHINESE = ["狗", "猫", "海滩", "红", "房子"]
PHOTOS = 40
DEPTHS = (0, 3, 16)
FOLD = 10


def shots() -> list[Shot]:
    """Photos with up to two captions a language, each twice: where one is hidden, the other is found in its place."""
    rng = np.random.default_rng(5)
    found = []
    for i in range(PHOTOS):
        english = [("en", " ".join(rng.choice(WORDS, 4))) for _ in range(rng.integers(0, 3))]
        chinese = [("zh", "".join(rng.choice(CHINESE, 2))) for _ in range(rng.integers(0, 3))]
        colour = tuple(int(value) for value in rng.integers(0, 256, 3))
        found.append(Shot(f"{i}.png", colour, captions=2 * (english + chinese)))
    return found


class CoarseEncoder(FakeEncoder):
    """Reads pairs in steps, so that its scores are often equal."""

    def match(self, texts, tokens):
        return np.round(super().match(texts, tokens) / 2).astype(np.float32)


@pytest.fixture(scope="module")
def encoder():
    return CoarseEncoder(config=FakeConfig(match_calibration=(1.0, 0.1, -0.2), first_stage_weight=0.7))


@pytest.fixture(scope="module")
def collection(tmp_path_factory, encoder):
    return build_gallery(tmp_path_factory.mktemp("gallery"), shots(), encoder)


@pytest.fixture(scope="module")
def snapshot(collection):
    return collection.open_snapshot()


@pytest.fixture
def engine(collection, encoder):
    return Engine(collection, encoder)


def measured(snapshot, encoder, **options) -> list[Answer]:
    """All rankings of an evaluation."""
    answers: list[Answer] = []
    evaluate(snapshot, encoder, rerank=DEPTHS, keep=answers.append, **options)
    return answers


def served(
    engine, snapshot, encoder, topic: Topic, mode: str, rerank: int, where: str | None = None
) -> list[tuple[int, float]]:
    """Id and score of each hit of the engine, for the same query."""
    options = {"rerank": rerank, "top": DEEPEST_KEPT, "mode": mode}
    if topic.caption is not None:
        query = Query(text=as_plain(topic.caption.text), where=where, **options)
    else:
        photo = read_stored(snapshot.images([topic.image_id])[0], encoder.config)
        query = Query(image=photo, to="captions", where=f"language = '{topic.language}'", **options)
    return [(hit.id, hit.score) for hit in engine.search(query).hits]


def pairs(answer: Answer) -> list[tuple[int, float]]:
    return list(zip(answer.ids.tolist(), answer.scores.tolist(), strict=True))


@pytest.mark.parametrize("mode", ["vector", "lexical", "hybrid"])
def test_evaluation_measures_the_ranking_that_the_engine_serves(engine, snapshot, encoder, mode):
    answers = measured(snapshot, encoder, mode=mode)

    directions = {(answer.topic.direction, answer.rerank) for answer in answers}
    expected = ["text_to_image", "image_to_text"] if mode == "vector" else ["text_to_image"]
    assert directions == {(direction, k) for direction in expected for k in DEPTHS}
    for answer in answers:
        assert pairs(answer) == served(engine, snapshot, encoder, answer.topic, mode, answer.rerank)


@pytest.mark.parametrize("mode", ["vector", "lexical", "hybrid"])
def test_a_fold_is_ranked_as_the_engine_ranks_under_a_filter(engine, snapshot, encoder, mode, monkeypatch):
    monkeypatch.setitem(PROTOCOLS, "folds", Protocol(fold=FOLD))
    answers = measured(snapshot, encoder, mode=mode, protocol="folds", languages=("en",))

    sentences = [answer for answer in answers if answer.topic.caption is not None]
    assert {answer.topic.fold for answer in sentences} == set(range(PHOTOS // FOLD))
    for answer in sentences:
        first, last = answer.topic.allowed[[0, -1]].tolist()
        where = f"image_id >= {first} and image_id <= {last}"
        assert pairs(answer) == served(engine, snapshot, encoder, answer.topic, mode, answer.rerank, where)


def test_the_caption_of_a_query_is_hidden_from_lexical_search(tmp_path):
    encoder = FakeEncoder()
    captions = [("en", "a dog at the sea"), ("en", "a cat in the house")]
    collection = build_gallery(tmp_path, [Shot("a.png", "red", captions=captions), Shot("b.png", "blue")], encoder)

    answers = measured(collection.open_snapshot(), encoder, mode="lexical", languages=("en",))

    scores = {answer.topic.caption.text: answer.scores.tolist() for answer in answers}
    whole = {text: [hit.score for hit in Engine(collection, encoder).search(Query(text=text, mode="lexical")).hits]
             for _, text in captions}  # fmt: skip
    for text in scores:
        assert 0 < scores[text][0] < whole[text][0]  # by "a" and "the" of the other caption


@pytest.mark.parametrize("mode", ["vector", "lexical", "hybrid"])
def test_a_topic_is_retrieved_once_and_re_ranked_anew_for_each_k(snapshot, encoder, mode, monkeypatch):
    calls = Counter()

    def counted(name):
        call = getattr(search.retrieval.pipeline.Pipeline, name)

        def count(*arguments):
            calls[name] += 1
            return call(*arguments)

        monkeypatch.setattr(search.retrieval.pipeline.Pipeline, name, count)

    for name in ("first_stage", "rank"):
        counted(name)
    answers = measured(snapshot, encoder, mode=mode, languages=("en",))

    assert calls["rank"] == len(answers) == len(DEPTHS) * calls["first_stage"] > 0


def test_the_unanswerable_trial_takes_the_match_probability_that_the_engine_serves(engine, snapshot, encoder, monkeypatch):
    trial = plan(snapshot, "en", 4, seed=1)
    best: list[list[float]] = []
    monkeypatch.setattr("search.evaluation.unanswerable.roc_auc", lambda present, absent: best.extend((present, absent)) or 0.5)

    measure(trial, snapshot, encoder, 16, 0, lambda: None)

    where = f"not image_id in ({', '.join(map(str, trial.left_out.tolist()))})"
    for scores, texts in zip(best, (trial.present, trial.absent), strict=True):
        for score, text in zip(scores, texts, strict=True):
            hits = engine.search(Query(text=as_plain(text), rerank=16, top=100, where=where)).hits
            assert score == max(hit.match_probability for hit in hits if hit.match_probability is not None)


def test_only_the_pipeline_puts_the_stages_together():
    """Whoever else called these would rank by rules of its own."""
    room = Path(search.retrieval.pipeline.__file__).parents[1]
    stages = ("retrieve(", "rerank_head(", "score_within_budget(", "fuse(", "lexical_ranking(")
    users = {path.name for path in room.rglob("*.py") if any(stage in path.read_text("utf-8") for stage in stages)}
    assert users == {"pipeline.py", "first_stage.py", "ranking.py", "rerank_budget.py"}
