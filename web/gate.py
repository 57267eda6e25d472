"""How many may do something at once, and how many may wait for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock, Semaphore

from .errors import Busy


class Gate:
    """Lets `most` through at once; `most_waiting` more wait, for `patience` seconds at most. Thread safe."""

    def __init__(self, most: int, most_waiting: int, patience: float) -> None:
        self._most_waiting, self._patience = most_waiting, patience
        self._free = Semaphore(most)
        self._lock = Lock()
        self.waiting = 0
        self.inside = 0

    @contextmanager
    def passing(self) -> Iterator[None]:
        """Raises Busy where too many wait, or it took too long."""
        if not self._free.acquire(blocking=False):
            self._wait()
        self._count(inside=1)
        try:
            yield
        finally:
            self._count(inside=-1)
            self._free.release()

    def _wait(self) -> None:
        with self._lock:
            if self.waiting >= self._most_waiting:
                raise Busy
            self.waiting += 1
        try:
            if not self._free.acquire(timeout=self._patience):
                raise Busy
        finally:
            self._count(waiting=-1)

    def _count(self, inside: int = 0, waiting: int = 0) -> None:
        with self._lock:
            self.inside += inside
            self.waiting += waiting
