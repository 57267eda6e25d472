"""Repeated queries are answered from the cache, and never with an outdated result."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from search import Engine, Query
from search.query.cursor import digest_of
from search.result_cache import LONGEST_PAGE, ResultCache
from tests.support.fakes import FakeConfig, FakeEncoder
from tests.support.galleries import COLOURFUL, Shot, build_gallery


@pytest.fixture
def encoder():
    return FakeEncoder()


@pytest.fixture
def engine(tmp_path, encoder):
    engine = Engine(build_gallery(tmp_path, encoder=encoder), encoder)
    encoder.calls.clear()
    return engine


def content(result) -> dict:
    return {name: value for name, value in result.as_json().items() if name != "took_ms"}


def test_a_repeated_query_is_answered_from_the_cache(engine, encoder):
    first = engine.search(Query(text="red", top=2))
    calls = list(encoder.calls)
    second = engine.search(Query(text="red", top=2))

    assert content(second) == content(first) and encoder.calls == calls
    assert "cached" not in first.took_ms
    assert 0 < second.took_ms["cached"] <= second.took_ms["total"] and second.took_ms["encode"] == 0


@pytest.mark.parametrize("other", [
    {"top": 3}, {"offset": 1}, {"rerank": 3}, {"to": "captions"}, {"where": "width > 1"}, {"fold": 1.0}, {"mode": "hybrid"},
    {"image_id": 1}, {"text": "green"}, {"text": "2*red + blue"}, {"image": np.zeros((32, 32, 3), np.uint8)},
])  # fmt: skip
def test_another_query_is_not_answered_from_the_cache(engine, other):
    engine.search(Query(text="red", top=2))
    fresh = engine.search(Query(**{"text": "red", "top": 2} | other))
    assert "cached" not in fresh.took_ms
    again = engine.search(Query(**{"text": "red", "top": 2} | other))
    assert "cached" in again.took_ms and content(again) == content(fresh)


def test_photos_are_compared_by_their_pixels(engine):
    black, white = np.zeros((32, 32, 3), np.uint8), np.full((32, 32, 3), 250, np.uint8)
    first = engine.search(Query(image=black, label="a.jpg"))
    same, other = engine.search(Query(image=black.copy(), label="b.jpg")), engine.search(Query(image=white, label="a.jpg"))

    assert "cached" in same.took_ms and same.as_json()["query"] == "b.jpg" and same.hits == first.hits
    assert "cached" not in other.took_ms and other.hits[0].id != first.hits[0].id
    assert digest_of(Query(image=black)) == digest_of(Query(image=black.copy())) != digest_of(Query(image=white))


def test_a_new_version_is_searched(tmp_path, encoder):
    engine = Engine(build_gallery(tmp_path, COLOURFUL[1:], encoder), encoder)
    before = [engine.search(Query(text="red")) for _ in range(2)][1]
    build_gallery(tmp_path, COLOURFUL[:1], encoder)
    after = engine.search(Query(text="red"))

    assert "cached" in before.took_ms and "cached" not in after.took_ms
    assert after.version == before.version + 1 and after.total == before.total + 1


def test_pages_by_cursor_are_cached_too(engine):
    first = engine.search(Query(text="red", top=2))
    pages = [engine.search(Query(text="red", top=2, cursor=first.cursor)) for _ in range(2)]
    assert "cached" in pages[1].took_ms and content(pages[1]) == content(pages[0]) and pages[0].cursor is not None
    assert engine.search(Query(text="red", top=2)).cursor == first.cursor


def test_results_that_were_cut_short_are_not_cached(engine):
    short = [engine.search(Query(text="red", budget_ms=0)) for _ in range(2)]
    assert [result.reranked for result in short] == [0, 0] and "cached" not in short[1].took_ms

    engine.search(Query(text="red"))
    whole = engine.search(Query(text="red", budget_ms=0))
    assert whole.reranked == 6 and "cached" in whole.took_ms


def test_a_translation_that_failed_is_tried_again(tmp_path):
    def translate(*_):
        calls.append(1)
        raise KeyError("down")

    calls = []
    encoder = FakeEncoder(config=FakeConfig(languages=("zh",)))
    engine = Engine(build_gallery(tmp_path, encoder=encoder), encoder, translate=translate)
    results = [engine.search(Query(text="something red")) for _ in range(2)]
    assert len(calls) == 2 and all("cached" not in result.took_ms for result in results)


def test_a_cache_of_0_results_caches_none(tmp_path, encoder):
    engine = Engine(build_gallery(tmp_path, encoder=encoder), encoder, answers=0)
    assert all("cached" not in engine.search(Query(text="red")).took_ms for _ in range(2))


class Page:
    def __init__(self, hits=()):
        self.hits = list(hits)


class Snapshot:
    pass


def test_the_least_recently_used_result_is_dropped_first():
    cache, snapshot = ResultCache(2), Snapshot()
    assert cache.get(snapshot, "a") is None
    a, b, c = Page(), Page(), Page()
    cache.put(snapshot, "a", a), cache.put(snapshot, "b", b)
    assert cache.get(snapshot, "a") is a
    cache.put(snapshot, "c", c)
    assert (cache.get(snapshot, "a"), cache.get(snapshot, "b"), cache.get(snapshot, "c")) == (a, None, c)


def test_a_late_result_of_an_old_snapshot_is_not_cached():
    cache, old, new = ResultCache(), Snapshot(), Snapshot()
    cache.get(old, "a"), cache.get(new, "a")
    cache.put(old, "a", Page())
    assert cache.get(new, "a") is None and cache.get(old, "a") is None


def test_snapshots_are_not_held_open_and_long_pages_are_not_cached():
    cache, snapshot = ResultCache(), Snapshot()
    cache.get(snapshot, "a")
    cache.put(snapshot, "a", Page(range(LONGEST_PAGE + 1)))
    assert cache.get(snapshot, "a") is None
    del snapshot
    gc.collect()
    assert cache._snapshot() is None


def test_many_threads_at_once(tmp_path, encoder):
    shots = [Shot(f"{i}.png", (i, 200 - i, 90)) for i in range(40)]
    engine = Engine(build_gallery(tmp_path, shots, encoder), encoder, answers=5)
    expected = {text: engine.search(Query(text=text)).hits for text in map(str, range(12))}
    with ThreadPoolExecutor(8) as pool:
        for text, result in pool.map(lambda text: (text, engine.search(Query(text=text))), list(expected) * 10):
            assert result.hits == expected[text]
