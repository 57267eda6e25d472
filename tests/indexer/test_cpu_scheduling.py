"""Tests that reading and encoding take turns."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from indexer.cpu_scheduling import FIRST_WAIT_SECONDS, WAIT_SHARE, CpuTurns


class Reading:
    """Stands for photos that take until `end` to be read."""

    def __init__(self):
        self.begun: list[Future] = []

    def begin(self) -> Future:
        self.begun.append(Future())
        return self.begun[-1]

    def end(self) -> None:
        for future in self.begun:
            if not future.done():
                future.set_result("photo")


@pytest.fixture
def turns(monkeypatch):
    """Turns after a first encoding; the next one waits longer than any test takes."""
    monkeypatch.setattr("indexer.cpu_scheduling.WAIT_SHARE", 60 / 0.001)
    turns = CpuTurns()
    with turns.encode():
        time.sleep(0.001)
    return turns


def test_reading_requested_during_an_encoding_starts_when_it_ends(turns):
    reading = Reading()
    with turns.encode():
        turns.read(reading.begin)
        turns.read(reading.begin)
        assert reading.begun == []
    assert len(reading.begun) == 2
    turns.read(reading.begin)
    assert len(reading.begun) == 3


def test_encoding_waits_for_requested_photos(turns):
    reading, encoding, ended = Reading(), threading.Event(), threading.Event()
    turns.read(reading.begin)

    def encode():
        with turns.encode():
            encoding.set()
        ended.set()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(encode)
        assert not encoding.wait(0.1)
        reading.end()
        assert ended.wait(60) and encoding.is_set()


def test_deferred_reading_starts_even_if_encoding_fails(turns):
    reading = Reading()
    with pytest.raises(MemoryError), turns.encode():
        turns.read(reading.begin)
        raise MemoryError
    assert len(reading.begun) == 1


def test_encoding_waits_for_at_most_a_share_of_the_last_encoding(monkeypatch):
    turns, allowed = CpuTurns(), []
    monkeypatch.setattr(turns._changed, "wait_for", lambda read, seconds: allowed.append(seconds) or read())
    for _ in range(2):
        with turns.encode():
            time.sleep(0.1)
    assert allowed[0] == FIRST_WAIT_SECONDS and WAIT_SHARE * 0.1 <= allowed[1] < 60


def encodings_that_waited(turns, encodings, monkeypatch):
    """The numbers of the encodings that waited for reading."""
    waited = []
    for number in range(encodings):
        with monkeypatch.context() as patched:
            patched.setattr(turns._changed, "wait_for", lambda read, _, number=number: waited.append(number) or read())
            with turns.encode():
                pass
    return waited


def test_slow_reading_runs_beside_more_and_more_encodings(monkeypatch):
    monkeypatch.setattr("indexer.cpu_scheduling.MOST_BESIDE", 4)
    turns, reading = CpuTurns(), Reading()
    turns.read(reading.begin)

    assert encodings_that_waited(turns, 14, monkeypatch) == [0, 1, 3, 7, 11]
    with turns.encode():
        turns.read(reading.begin)
    assert len(reading.begun) == 2

    reading.end()
    assert encodings_that_waited(turns, 3, monkeypatch) == [0, 1, 2]
    turns.read(reading.begin)
    assert encodings_that_waited(turns, 4, monkeypatch) == [0, 1, 3]


def test_with_many_threads_nothing_is_read_beside_an_encoding(turns):
    beside, encoding = [], threading.Event()

    def encode():
        for _ in range(20):
            with turns.encode():
                encoding.set()
                time.sleep(0.005)
                encoding.clear()

    with ThreadPoolExecutor(2) as readers, ThreadPoolExecutor(1) as encoder:
        done = encoder.submit(encode)
        for _ in range(200):
            turns.read(lambda: readers.submit(lambda: beside.append(encoding.is_set())))
            time.sleep(0.001)
        done.result(60)
    assert beside == [False] * 200
