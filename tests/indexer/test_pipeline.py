"""Making and taking at the same time, in order."""

from __future__ import annotations

import threading
import time
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.pipeline import OrderedPipeline


@pytest.mark.parametrize("makers", [1, 3])
def test_all_is_taken_in_the_order_in_which_it_was_put_on(makers):
    conveyor, taken = OrderedPipeline(makers), []
    for number in range(20):
        conveyor.put(lambda number=number: number, taken.append)
    conveyor.drain()
    conveyor.stop()
    assert taken == list(range(20))


def test_the_next_thing_is_made_while_one_is_taken():
    conveyor, made = OrderedPipeline(1), threading.Event()
    conveyor.put(lambda: None, lambda _: made.wait(60) or pytest.fail("nothing else was made"))
    conveyor.put(made.set, lambda _: None)
    conveyor.drain()
    conveyor.stop()


@pytest.mark.parametrize("makers", [1, 2, 5])
def test_while_one_is_taken_each_maker_makes_one_and_no_more_is_begun(makers):
    """What a killed run loses: with one maker, what it makes and what is being written."""
    conveyor, gate, begun, taken = OrderedPipeline(makers), threading.Event(), [], []
    all_begun = threading.Event()

    def make(number):
        begun.append(number)
        if len(begun) == makers + 1:
            all_begun.set()

    def take(_):
        gate.wait(60)
        taken.append(None)

    def feed():
        for number in range(10 * makers):
            conveyor.put(partial(make, number), take)

    feeder = threading.Thread(target=feed)
    feeder.start()
    assert all_begun.wait(60)
    feeder.join(0.2)
    assert sorted(begun) == list(range(makers + 1)) and not taken
    gate.set()
    feeder.join()
    conveyor.drain()
    conveyor.stop()
    assert len(taken) == 10 * makers


@given(makers=st.integers(1, 4), things=st.lists(st.tuples(*2 * [st.sampled_from([0, 0.002])]), max_size=12))
@settings(max_examples=30, deadline=None)
def test_never_is_more_made_and_not_taken_than_one_a_maker_and_one(makers, things):
    conveyor, lock, begun, taken, most = OrderedPipeline(makers), threading.Lock(), [], [], [0]

    def make(seconds):
        with lock:
            begun.append(None)
            most[0] = max(most[0], len(begun) - len(taken))
        time.sleep(seconds)

    def take(seconds, _):
        time.sleep(seconds)
        with lock:
            taken.append(None)

    for making, taking in things:
        conveyor.put(partial(make, making), partial(take, taking))
    conveyor.drain()
    conveyor.stop()
    assert most[0] <= makers + 1 and len(taken) == len(things)


@pytest.mark.parametrize("where", ["make", "take"])
def test_after_an_error_nothing_is_taken_and_it_is_raised(where):
    conveyor, taken = OrderedPipeline(1), []

    def fail(*_):
        raise OSError("no room")

    conveyor.put(lambda: 1, taken.append)
    conveyor.put(*((fail, taken.append) if where == "make" else (lambda: 2, fail)))
    with pytest.raises(OSError, match="no room"):
        for number in range(3, 20):
            conveyor.put(lambda number=number: number, taken.append)
    conveyor.stop()
    assert taken == [1]
