"""Making and taking at the same time: one batch is written while the next ones are encoded."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor


class OrderedPipeline:
    """What `makers` threads make is taken by one more, in the order in which it was put on.

    At most `makers` + 1 things are under way: one being made by each maker and one being taken, or else, as taking is mostly
    quicker than making, one that a maker goes on with at once. So no more than that is ever made and not yet taken, and nobody
    waits unless taking takes longer than making. After an error nothing is taken any more, so that nothing is taken without
    what comes before it.
    """

    def __init__(self, makers: int):
        self._limit = makers + 1
        self._makers = ThreadPoolExecutor(makers, thread_name_prefix="making")
        self._taker = ThreadPoolExecutor(1, thread_name_prefix="taking")
        self._under_way: deque[Future] = deque()
        self._broken = False

    def put(self, make: Callable[[], object], take: Callable[[object], None]) -> None:
        """Have `take` called with what `make` gives. Waits while there is too much under way, and raises what either raised
        for something that was put on before."""
        while self._under_way and (len(self._under_way) >= self._limit or self._under_way[0].done()):
            self._under_way.popleft().result()
        made = self._makers.submit(make)
        self._under_way.append(self._taker.submit(self._take, made, take))

    def drain(self) -> None:
        """Wait until all is taken; raises what was raised."""
        while self._under_way:
            self._under_way.popleft().result()

    def stop(self) -> None:
        """Make nothing more and wait for what is being made and taken; raises nothing."""
        self._makers.shutdown(wait=False, cancel_futures=True)
        self._taker.shutdown(wait=True, cancel_futures=True)
        self._makers.shutdown(wait=True)
        self._under_way.clear()

    def _take(self, made: Future, take: Callable[[object], None]) -> None:
        try:
            value = made.result()
            if not self._broken:
                take(value)
        except BaseException:
            self._broken = True
            raise
