"""Searches go on while another version is opened."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import search.retrieval.lexical
import storage.filtering.columns
from search import Engine, Query
from search.engine import snapshot_cache
from search.retrieval.lexical import words_of
from storage.errors import BrokenManifest
from storage.filtering.columns import columns_of
from tests.support.fakes import FakeEncoder
from tests.support.galleries import build_gallery

SECONDS = 10
QUERY = Query(text="red", mode="lexical", where="name like '%' and language = 'en'")


@pytest.fixture
def collection(tmp_path):
    return build_gallery(tmp_path)


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr("storage.snapshot_cache.PATIENCE_S", 0.1, raising=False)


class Slow:
    """Calls a function only when that is allowed; counts the calls."""

    def __init__(self, function, allowed: threading.Event) -> None:
        self._function, self._allowed, self.calls = function, allowed, 0

    def __call__(self, *arguments):
        self.calls += 1
        self._allowed.wait(SECONDS)
        return self._function(*arguments)


def publish(collection):
    """Publish a version with one photo less; its number."""
    with collection.writer(FakeEncoder().fingerprint) as writer:
        writer.tombstone(int(collection.open_rows().image_ids()[-1]))
        return writer.publish().version


def until(condition):
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("module", "name"), [(search.retrieval.lexical, "CaptionWords"), (storage.filtering.columns, "Columns")]
)
def test_searches_go_on_with_the_version_before_until_the_next_one_is_warm(collection, monkeypatch, module, name):
    engine, allowed = Engine(collection, FakeEncoder(), answers=0), threading.Event()
    assert engine.search(QUERY).version == 1
    making = Slow(getattr(module, name), allowed)
    monkeypatch.setattr(module, name, making)
    publish(collection)

    with ThreadPoolExecutor(4) as pool:
        try:
            results = [pool.submit(engine.search, QUERY) for _ in range(12)]
            assert {result.result(SECONDS / 2).version for result in results} == {1}
        finally:
            allowed.set()
    until(lambda: engine.search(QUERY).version == 2)
    assert making.calls == 1
    monkeypatch.setattr(module, name, None)
    assert engine.search(QUERY).version == 2


def test_nobody_waits_while_a_version_is_opened(collection, monkeypatch):
    cache, allowed = snapshot_cache(collection), threading.Event()
    first = cache.get()
    opening = Slow(type(collection).open_snapshot, allowed)
    monkeypatch.setattr(type(collection), "open_snapshot", lambda self: opening(self))
    publish(collection)
    with ThreadPoolExecutor(4) as pool:
        try:
            assert {one.result(SECONDS / 2) for one in [pool.submit(cache.get) for _ in range(8)]} == {first}
        finally:
            allowed.set()
    until(lambda: cache.get().version == 2)
    assert opening.calls == 1


def test_a_value_that_is_made_for_one_snapshot_does_not_block_another_snapshot(collection, monkeypatch):
    one, allowed = collection.open_snapshot(), threading.Event()
    other = collection.open_snapshot()
    kept = [words_of(one), columns_of(one, "images")]
    monkeypatch.setattr(search.retrieval.lexical, "CaptionWords", Slow(search.retrieval.lexical.CaptionWords, allowed))
    monkeypatch.setattr(storage.filtering.columns, "Columns", Slow(storage.filtering.columns.Columns, allowed))
    with ThreadPoolExecutor(4) as pool:
        try:
            making = [pool.submit(words_of, other), pool.submit(columns_of, other, "images")]
            held = [pool.submit(words_of, one), pool.submit(columns_of, one, "images")]
            assert [thing.result(SECONDS / 2) for thing in held] == kept
            assert not any(thing.done() for thing in making)
        finally:
            allowed.set()


def test_waiting_for_a_version_ends_when_it_is_open_however_long_that_takes(collection, monkeypatch):
    cache = snapshot_cache(collection)
    words_of(cache.get())
    made = search.retrieval.lexical.CaptionWords
    monkeypatch.setattr(search.retrieval.lexical, "CaptionWords", lambda snapshot: (time.sleep(0.5), made(snapshot))[1])
    cache.wait_for(publish(collection))
    assert cache.get().version == 2
    publish(collection)
    assert cache.get().version == 2  # and a newer one is being opened
    cache.wait_for(publish(collection))
    assert cache.get().version == 4


def test_an_error_while_opening_is_raised_and_the_next_call_tries_again(collection):
    cache = snapshot_cache(collection)
    cache.get()
    manifest = collection.folder / "manifest.json"
    whole = manifest.read_text()
    manifest.write_text("{")
    for _ in range(2):
        until(lambda: raises(cache.get, BrokenManifest))
    manifest.write_text(whole)
    until(lambda: not raises(cache.get, BrokenManifest))


def raises(act, error):
    try:
        act()
    except error:
        return True
    return False
