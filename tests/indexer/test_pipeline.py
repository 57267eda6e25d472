"""Tests of the pipeline: what is produced in parallel is consumed in order."""

from __future__ import annotations

import threading
import time
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.pipeline import OrderedPipeline


@pytest.mark.parametrize("producers", [1, 3])
def test_everything_is_consumed_in_the_order_of_put(producers):
    pipeline, consumed = OrderedPipeline(producers), []
    for number in range(20):
        pipeline.put(lambda number=number: number, consumed.append)
    pipeline.drain()
    pipeline.stop()
    assert consumed == list(range(20))


def test_the_next_value_is_produced_while_one_is_consumed():
    pipeline, produced = OrderedPipeline(1), threading.Event()
    pipeline.put(lambda: None, lambda _: produced.wait(60) or pytest.fail("nothing else was produced"))
    pipeline.put(produced.set, lambda _: None)
    pipeline.drain()
    pipeline.stop()


@pytest.mark.parametrize("producers", [1, 2, 5])
def test_while_one_value_is_consumed_each_producer_starts_one_and_no_more(producers):
    """This is what a killed run loses: with one producer, the batch in it and the batch being written."""
    pipeline, allow, begun, consumed = OrderedPipeline(producers), threading.Event(), [], []
    all_begun = threading.Event()

    def produce(number):
        begun.append(number)
        if len(begun) == producers + 1:
            all_begun.set()

    def consume(_):
        allow.wait(60)
        consumed.append(None)

    def feed():
        for number in range(10 * producers):
            pipeline.put(partial(produce, number), consume)

    feeder = threading.Thread(target=feed)
    feeder.start()
    assert all_begun.wait(60)
    feeder.join(0.2)
    assert sorted(begun) == list(range(producers + 1)) and not consumed
    allow.set()
    feeder.join()
    pipeline.drain()
    pipeline.stop()
    assert len(consumed) == 10 * producers


@given(producers=st.integers(1, 4), things=st.lists(st.tuples(*2 * [st.sampled_from([0, 0.002])]), max_size=12))
@settings(max_examples=30, deadline=None)
def test_at_most_one_more_value_than_producers_waits_to_be_consumed(producers, things):
    pipeline, lock, begun, consumed, most = OrderedPipeline(producers), threading.Lock(), [], [], [0]

    def produce(seconds):
        with lock:
            begun.append(None)
            most[0] = max(most[0], len(begun) - len(consumed))
        time.sleep(seconds)

    def consume(seconds, _):
        time.sleep(seconds)
        with lock:
            consumed.append(None)

    for producing, consuming in things:
        pipeline.put(partial(produce, producing), partial(consume, consuming))
    pipeline.drain()
    pipeline.stop()
    assert most[0] <= producers + 1 and len(consumed) == len(things)


@pytest.mark.parametrize("where", ["produce", "consume"])
def test_after_an_error_nothing_is_consumed_and_the_error_is_raised(where):
    pipeline, consumed = OrderedPipeline(1), []

    def fail(*_):
        raise OSError("no room")

    pipeline.put(lambda: 1, consumed.append)
    pipeline.put(*((fail, consumed.append) if where == "produce" else (lambda: 2, fail)))
    with pytest.raises(OSError, match="no room"):
        for number in range(3, 20):
            pipeline.put(lambda number=number: number, consumed.append)
    pipeline.stop()
    assert consumed == [1]
