"""Admission control: how many threads may do something at once, and how many may wait for it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Lock

from web.errors import Busy


class AdmissionControl:
    """A bounded number of slots with a bounded queue before them. Thread safe.

    The queue is first in, first out. A semaphore would admit a thread that has just left and comes again before those that
    wait, so one of them could wait for as long as others keep asking.

    Args:
        slots: How many threads may hold a slot at once.
        queue_limit: How many more may wait.
        timeout_s: How long each may wait, in seconds.
    """

    def __init__(self, slots: int, queue_limit: int, timeout_s: float) -> None:
        self._slots, self._queue_limit, self._timeout_s = slots, queue_limit, timeout_s
        self._lock = Lock()
        self._queue: deque[Event] = deque()
        self.running = 0

    @property
    def waiting(self) -> int:
        """The number of threads in the queue."""
        return len(self._queue)

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Hold a slot; wait for one first where all are taken.

        Raises:
            Busy: The queue is full, or the wait took too long.
        """
        turn = self._enter()
        if turn is not None and not turn.wait(self._timeout_s):
            self._leave_queue(turn)
        try:
            yield
        finally:
            self._release()

    def _enter(self) -> Event | None:
        """Take a free slot (None), or join the queue: the event is set once the slot is ours."""
        with self._lock:
            if self.running < self._slots:
                self.running += 1
                return None
            if len(self._queue) >= self._queue_limit:
                raise Busy
            self._queue.append(Event())
            return self._queue[-1]

    def _leave_queue(self, turn: Event) -> None:
        with self._lock:
            if turn in self._queue:  # else the slot came just now
                self._queue.remove(turn)
                raise Busy

    def _release(self) -> None:
        with self._lock:
            if self._queue:
                self._queue.popleft().set()  # the next in the queue takes over this slot
            else:
                self.running -= 1
