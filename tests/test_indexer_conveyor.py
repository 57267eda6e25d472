"""Making and taking at the same time, in order."""

import threading

import pytest

from indexer.conveyor import Conveyor


@pytest.mark.parametrize("makers", [1, 3])
def test_all_is_taken_in_the_order_in_which_it_was_put_on(makers):
    conveyor, taken = Conveyor(makers), []
    for number in range(20):
        conveyor.put(lambda number=number: number, taken.append)
    conveyor.drain()
    conveyor.stop()
    assert taken == list(range(20))


def test_the_next_thing_is_made_while_one_is_taken():
    conveyor, made = Conveyor(1), threading.Event()
    conveyor.put(lambda: None, lambda _: made.wait(60) or pytest.fail("nothing else was made"))
    conveyor.put(made.set, lambda _: None)
    conveyor.drain()
    conveyor.stop()


def test_no_more_is_under_way_than_was_said():
    conveyor, gate, put = Conveyor(1), threading.Event(), []

    def feed():
        for number in range(5):
            conveyor.put(gate.wait, lambda _: None)
            put.append(number)

    feeder = threading.Thread(target=feed)
    feeder.start()
    feeder.join(0.2)
    assert len(put) == 3
    gate.set()
    feeder.join()
    conveyor.drain()
    conveyor.stop()


@pytest.mark.parametrize("where", ["make", "take"])
def test_after_an_error_nothing_is_taken_and_it_is_raised(where):
    conveyor, taken = Conveyor(1), []

    def fail(*_):
        raise OSError("no room")

    conveyor.put(lambda: 1, taken.append)
    conveyor.put(*((fail, taken.append) if where == "make" else (lambda: 2, fail)))
    with pytest.raises(OSError, match="no room"):
        for number in range(3, 20):
            conveyor.put(lambda number=number: number, taken.append)
    conveyor.stop()
    assert taken == [1]
