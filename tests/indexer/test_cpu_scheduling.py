"""Reading and encoding in turns."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from indexer.cpu_scheduling import AT_FIRST, SHARE, CpuTurns


class Reading:
    """Photos that are read when the test says so."""

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
    """With an encoding behind them, of which a part is long enough for any test."""
    monkeypatch.setattr("indexer.cpu_scheduling.SHARE", 60 / 0.001)
    turns = CpuTurns()
    with turns.encode():
        time.sleep(0.001)
    return turns


def test_what_is_asked_for_while_something_is_encoded_is_begun_when_that_has_ended(turns):
    reading = Reading()
    with turns.encode():
        turns.read(reading.begin)
        turns.read(reading.begin)
        assert reading.begun == []
    assert len(reading.begun) == 2
    turns.read(reading.begin)
    assert len(reading.begun) == 3


def test_encoding_waits_for_what_was_asked_for(turns):
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


def test_what_was_held_is_begun_though_encoding_fails(turns):
    reading = Reading()
    with pytest.raises(MemoryError), turns.encode():
        turns.read(reading.begin)
        raise MemoryError
    assert len(reading.begun) == 1


def test_encoding_waits_for_no_more_than_a_part_of_what_the_last_one_took(monkeypatch):
    turns, allowed = CpuTurns(), []
    monkeypatch.setattr(turns._changed, "wait_for", lambda read, seconds: allowed.append(seconds) or read())
    for _ in range(2):
        with turns.encode():
            time.sleep(0.1)
    assert allowed[0] == AT_FIRST and SHARE * 0.1 <= allowed[1] < 60


def waited_for(turns, encodings, monkeypatch):
    """Which of so many encodings wait for what is read."""
    waited = []
    for number in range(encodings):
        with monkeypatch.context() as patched:
            patched.setattr(turns._changed, "wait_for", lambda read, _, number=number: waited.append(number) or read())
            with turns.encode():
                pass
    return waited


def test_reading_that_takes_too_long_goes_on_beside_the_encoder_for_longer_and_longer(monkeypatch):
    monkeypatch.setattr("indexer.cpu_scheduling.LONGEST", 4)
    turns, reading = CpuTurns(), Reading()
    turns.read(reading.begin)

    assert waited_for(turns, 14, monkeypatch) == [0, 1, 3, 7, 11]
    with turns.encode():
        turns.read(reading.begin)
    assert len(reading.begun) == 2

    reading.end()
    assert waited_for(turns, 3, monkeypatch) == [0, 1, 2]
    turns.read(reading.begin)
    assert waited_for(turns, 4, monkeypatch) == [0, 1, 3]


def test_nothing_is_read_beside_an_encoding_when_many_threads_are_at_it(turns):
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
