"""Requests that wait at the same time share a batch and don't influence each other."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encoder.runtime.micro_batching import BatchingWorker


class Doubling:
    """Doubles its rows, and records the size of each batch; negative rows are an error."""

    def __init__(self):
        self.batches = []

    def __call__(self, values):
        self.batches.append(len(values))
        if (values < 0).any():
            raise ValueError("below 0")
        return (2 * values,)


class Held:
    """Keeps a worker busy during a `with`, so that requests pile up."""

    def __init__(self, worker: BatchingWorker):
        self._worker, self._held, self._free = worker, threading.Event(), threading.Event()
        self._pool = ThreadPoolExecutor(64)

    def __enter__(self):
        self._pool.submit(self._worker.call, lambda: self._held.set() or self._free.wait(10))
        self._held.wait(10)
        return self

    def __exit__(self, *_):
        self._free.set()
        self._pool.shutdown()

    def ask(self, run, rows, key="a", most=8):
        """Make a request; gives its future once the request waits."""
        before = len(self._worker._waiting)
        future = self._pool.submit(self._worker.rows, key, (np.array(rows, float),), run, most)
        while len(self._worker._waiting) == before:
            pass
        return future


def test_requests_that_wait_together_run_together():
    worker, run = BatchingWorker("test"), Doubling()
    with Held(worker) as held:
        futures = [held.ask(run, [i, i + 0.5]) for i in range(3)]

    assert run.batches == [6]
    assert [one.result()[0].tolist() for one in futures] == [[0, 1], [2, 3], [4, 5]]


def test_a_single_request_runs_at_once():
    run = Doubling()
    assert BatchingWorker("test").rows("a", (np.ones(3),), run, 8)[0].tolist() == [2, 2, 2]
    assert run.batches == [3]


def test_rows_of_different_keys_never_share_a_batch():
    worker, one, other = BatchingWorker("test"), Doubling(), Doubling()
    with Held(worker) as held:
        held.ask(one, [1])
        held.ask(other, [2, 2], key="b")
        held.ask(one, [3, 3, 3])
    assert (one.batches, other.batches) == ([4], [2])


def test_the_last_batch_of_many_rows_is_filled_up_by_other_requests():
    worker, run = BatchingWorker("test"), Doubling()
    with Held(worker) as held:
        many, few = held.ask(run, range(19)), held.ask(run, [100])
    assert run.batches == [8, 8, 4]
    assert many.result()[0].tolist() == list(range(0, 38, 2)) and few.result()[0].tolist() == [200]


def test_only_the_request_that_fails_gets_the_error():
    worker, run = BatchingWorker("test"), Doubling()
    with Held(worker) as held:
        good, bad, later = held.ask(run, [1, 2]), held.ask(run, [3, -1] * 10), held.ask(run, [4])

    assert good.result()[0].tolist() == [2, 4] and later.result()[0].tolist() == [8]
    with pytest.raises(ValueError, match="below 0"):
        bad.result()
    assert worker.rows("a", (np.ones(1),), run, 8)[0].tolist() == [2]


@settings(max_examples=25)
@given(st.lists(st.lists(st.integers(-1, 50), min_size=1, max_size=20), min_size=1, max_size=8), st.integers(1, 9))
def test_every_request_gets_what_it_would_get_alone(requests, most):
    worker, run = BatchingWorker("test"), Doubling()
    with Held(worker) as held:
        futures = [held.ask(run, rows, most=most) for rows in requests]

    for rows, one in zip(requests, futures, strict=True):
        if -1 in rows:
            assert isinstance(one.exception(), ValueError)
        else:
            assert one.result()[0].tolist() == [2 * value for value in rows]
    assert max(run.batches) <= most


def test_rows_come_back_in_order_from_several_threads():
    worker = BatchingWorker("test", threads=3)

    def slow_at_first(rows):
        time.sleep(0.05 if rows[0] == 0 else 0)
        return (2 * rows,)

    assert worker.rows("a", (np.arange(10.0),), slow_at_first, 2)[0].tolist() == [2.0 * row for row in range(10)]


def test_two_batches_of_a_request_may_fail_at_once():
    worker, together = BatchingWorker("test", threads=2), threading.Barrier(2)

    def failing(rows):
        together.wait(10)
        raise ValueError("broken")

    for _ in range(20):
        with pytest.raises(ValueError, match="broken"):
            worker.rows("a", (np.arange(4.0),), failing, 2)
        assert worker.rows("b", (np.ones(3),), lambda rows: (rows + 1,), 2)[0].tolist() == [2, 2, 2]


def test_map_keeps_the_order_of_its_arguments():
    assert BatchingWorker("test", threads=2).map(lambda one: one * one, range(6)) == [0, 1, 4, 9, 16, 25]
