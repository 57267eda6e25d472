"""A pipeline of two stages: one batch is written while the next ones are encoded."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Value = TypeVar("Value")


class OrderedPipeline:
    """What several producer threads produce is consumed by one thread, in the order of the calls of `put`.

    At most `producers` + 1 tasks are under way, so no more than that is ever produced and not yet consumed. Producers wait only
    if consuming takes longer than producing. After an error nothing more is consumed: nothing is consumed without what comes
    before it.
    """

    def __init__(self, producers: int):
        self._limit = producers + 1
        self._producers = ThreadPoolExecutor(producers, thread_name_prefix="producing")
        self._consumer = ThreadPoolExecutor(1, thread_name_prefix="consuming")
        self._under_way: deque[Future[None]] = deque()
        self._broken = False

    def put(self, produce: Callable[[], Value], consume: Callable[[Value], object]) -> None:
        """Have `consume` called with what `produce` returns. Waits while too many tasks are under way.

        Raises:
            BaseException: what an earlier task raised.
        """
        while self._under_way and (len(self._under_way) >= self._limit or self._under_way[0].done()):
            self._under_way.popleft().result()
        produced = self._producers.submit(produce)
        self._under_way.append(self._consumer.submit(self._consume, produced, consume))

    def drain(self) -> None:
        """Wait until everything is consumed.

        Raises:
            BaseException: what a task raised.
        """
        while self._under_way:
            self._under_way.popleft().result()

    def stop(self) -> None:
        """Cancel what has not begun, and wait for the rest. Raises nothing."""
        self._producers.shutdown(wait=False, cancel_futures=True)
        self._consumer.shutdown(wait=True, cancel_futures=True)
        self._producers.shutdown(wait=True)
        self._under_way.clear()

    def _consume(self, produced: Future[Value], consume: Callable[[Value], object]) -> None:
        try:
            value = produced.result()
            if not self._broken:
                consume(value)
        except BaseException:
            self._broken = True
            raise
