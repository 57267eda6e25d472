"""How many may do something at once, and how many may wait for it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Lock

from web.errors import Busy


class AdmissionControl:
    """Lets `most` through at once; `most_waiting` more wait, for `patience` seconds at most. Thread safe.

    Who waits is let in in the order of coming, and before anyone who comes later: a semaphore lets those in first who have just
    left and come again, and one could wait for as long as others keep asking.
    """

    def __init__(self, most: int, most_waiting: int, patience: float) -> None:
        self._most, self._most_waiting, self._patience = most, most_waiting, patience
        self._lock = Lock()
        self._queue: deque[Event] = deque()
        self.inside = 0

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._queue)

    @contextmanager
    def passing(self) -> Iterator[None]:
        """Raises Busy where too many wait, or it took too long."""
        turn = self._come()
        if turn is not None and not turn.wait(self._patience):
            self._give_up(turn)
        try:
            yield
        finally:
            self._leave()

    def _come(self) -> Event | None:
        """In at once, or what will say that it is one's turn."""
        with self._lock:
            if self.inside < self._most:
                self.inside += 1
                return None
            if len(self._queue) >= self._most_waiting:
                raise Busy
            self._queue.append(Event())
            return self._queue[-1]

    def _give_up(self, turn: Event) -> None:
        with self._lock:
            if turn in self._queue:  # else it came just now
                self._queue.remove(turn)
                raise Busy

    def _leave(self) -> None:
        with self._lock:
            if self._queue:
                self._queue.popleft().set()  # whose place this now is
            else:
                self.inside -= 1
