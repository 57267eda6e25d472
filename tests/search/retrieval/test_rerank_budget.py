"""Re-ranking within a budget: as many pairs as fit, in whole batches, and pages that still agree."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search import BadQuery, Engine, Query
from search.retrieval.rerank_budget import GOOD_FOR_S, KEPT, LatencyModel
from tests.support.fakes import FakeEncoder
from tests.support.galleries import Shot, build_gallery

SHOTS = [Shot(f"{i}.png", (200 - i, 20 + i % 7, 30), captions=[("en", f"shade {i}")]) for i in range(60)]


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class SlowEncoder(FakeEncoder):
    """Takes a fixed time for every batch of pairs, by a clock of its own."""

    def __init__(self, ms: dict[int, float], clock: Clock):
        super().__init__()
        self.ms, self.clock, self.sizes = ms, clock, []

    def match(self, texts, tokens):
        count = max(len(texts), len(tokens))
        self.sizes.append(count)
        while count > 0:
            size = 8 if count <= 16 else 32
            self.clock.now += self.ms[size] / 1000
            count -= size
        return super().match(texts, tokens)


@pytest.fixture(scope="module")
def gallery(tmp_path_factory):
    return build_gallery(tmp_path_factory.mktemp("budget"), SHOTS)


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("search.retrieval.rerank_budget.perf_counter", clock)
    monkeypatch.setattr("search.retrieval.timing.perf_counter", clock)
    return clock


@pytest.fixture
def encoder(clock):
    return SlowEncoder({8: 10, 32: 30}, clock)


@pytest.fixture
def engine(gallery, encoder, clock):
    engine = Engine(gallery, encoder)
    engine._latency = LatencyModel(encoder.match_batches, clock)
    return engine


def with_measured_batches(engine, encoder):
    """Let the engine measure batches of both sizes."""
    for k in (8, 32):
        engine.search(Query(text="blue", rerank=k))
    encoder.sizes.clear()
    return engine


@pytest.mark.parametrize(("budget", "sizes"), [
    (0, []), (9, []), (11, [8]), (19, [8]), (29, [8, 8]), (31, [32]), (39, [32]), (41, [32, 8]), (1000, [32, 16]),
])  # fmt: skip
def test_as_many_candidates_are_scored_as_fit_into_the_budget(engine, encoder, budget, sizes):
    result = with_measured_batches(engine, encoder).search(Query(text="red", rerank=48, budget_ms=budget, top=60))

    assert result.reranked == sum(sizes) and sum(encoder.sizes) == sum(sizes)
    assert [hit.match_logit is not None for hit in result.hits] == [True] * sum(sizes) + [False] * (60 - sum(sizes))
    assert result.took_ms["total"] <= max(budget, 1e-6) + 1e-6


def test_without_time_the_order_is_that_of_the_first_stage(engine, encoder):
    plain = with_measured_batches(engine, encoder).search(Query(text="red", rerank=0))
    hurried = engine.search(Query(text="red", rerank=32, budget_ms=5))

    assert hurried.reranked == 0 and [hit.id for hit in hurried.hits] == [hit.id for hit in plain.hits]
    assert hurried.relevance is None


def test_a_small_batch_is_tried_while_nothing_is_known(engine, encoder):
    assert engine.search(Query(text="red", rerank=32, budget_ms=25)).reranked == 16
    assert encoder.sizes == [8, 8]


def test_later_pages_re_rank_as_many_as_the_first_whatever_their_budget(engine, encoder):
    with_measured_batches(engine, encoder)
    first = engine.search(Query(text="red", rerank=48, budget_ms=25, top=5))
    whole = engine.search(Query(text="red", rerank=16, top=60)).hits
    encoder.ms = {8: 1000, 32: 1000}

    for budget in (25, 1, 100_000, None):
        hits, cursor = list(first.hits), first.cursor
        while cursor is not None:
            page = engine.search(Query(text="red", rerank=48, budget_ms=budget, top=20, cursor=cursor))
            hits, cursor = hits + page.hits, page.cursor
            assert page.reranked == first.reranked == 16
        assert [(hit.id, hit.rank, hit.score) for hit in hits] == [(hit.id, hit.rank, hit.score) for hit in whole]


def test_a_cursor_re_ranks_no_more_than_the_query_says(engine):
    cursor = engine.search(Query(text="red", rerank=16, top=5)).cursor
    assert engine.search(Query(text="red", rerank=16, top=5, cursor=cursor)).reranked == 16


def test_a_budget_with_an_offset_is_refused():
    with pytest.raises(BadQuery, match="go on with the cursor of the page before"):
        Query(text="red", budget_ms=100, offset=10)
    with pytest.raises(BadQuery, match="budget_ms is -1"):
        Query(text="red", budget_ms=-1)


def test_captions_are_re_ranked_within_a_budget_too(engine, encoder):
    engine.search(Query(image_id=1, to="captions", rerank=8))
    result = engine.search(Query(image_id=2, to="captions", rerank=32, budget_ms=25))
    assert result.reranked == 16


def test_a_budget_changes_nothing_if_nothing_can_be_re_ranked(engine, encoder):
    for query in (Query(image_id=1, budget_ms=50), Query(text="red", to="captions", budget_ms=50)):
        assert engine.search(query).reranked == 0
    assert encoder.sizes == []


def test_what_was_slow_once_is_tried_again_later():
    clock = Clock()
    latency = LatencyModel((8, 32), clock)
    for _ in range(KEPT):
        latency.note("a", 8, 500)
    assert latency.fitting("a", 32, 100) == 0
    clock.now = GOOD_FOR_S + 1
    assert latency.fitting("a", 32, 100) == 8


def test_one_slow_batch_changes_little():
    latency = LatencyModel((8, 32), Clock())
    for ms in (10, 10, 4000):
        latency.note("a", 8, ms)
    assert latency.expected_ms("a", 8) == 10 and latency.expected_ms("b", 8) is None


def test_a_batch_that_is_not_well_filled_is_not_measured():
    latency = LatencyModel((8, 32), Clock())
    for count in (9, 16, 33, 256):
        latency.note("a", count, 5)
    assert latency.expected_ms("a", 8) is None and latency.expected_ms("a", 32) is None
    latency.note("a", 3, 5), latency.note("a", 17, 6)
    assert (latency.expected_ms("a", 8), latency.expected_ms("a", 32)) == (5, 6)


@given(st.integers(1, 300), st.floats(0, 2000), st.lists(st.tuples(st.sampled_from([8, 32]), st.floats(0.1, 500)), max_size=20))
def test_a_batch_that_is_expected_to_take_longer_is_not_begun(left, ms, measured):
    latency = LatencyModel((8, 32), Clock())
    for size, took in measured:
        latency.note("a", size, took)

    count = latency.fitting("a", left, ms)

    assert 0 <= count <= min(left, 32)
    known = {size: [took for of, took in measured if of == size][-KEPT:] for size in (8, 32)}
    if known[8] and np.median(known[8]) > ms and not (known[32] and np.median(known[32]) <= ms):
        assert count == 0
    if count > 8 and known[32]:
        assert np.median(known[32]) <= ms


def test_with_real_time_a_large_budget_scores_all_and_no_budget_scores_nothing(gallery):
    engine = Engine(gallery, FakeEncoder())
    assert engine.search(Query(text="red", rerank=48, budget_ms=60_000)).reranked == 48
    assert engine.search(Query(text="green", rerank=48, budget_ms=0)).reranked == 0
