"""Lets reading and encoding take turns on the processors, because each wants all of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

WAIT_SHARE = 0.25
FIRST_WAIT_SECONDS = 1.0
MOST_BESIDE = 64

Start = Callable[[], "Future[Any]"]


class CpuTurns:
    """While something is encoded, no photo is started; before that, encoding waits for the photos that were requested.

    This is for an encoder whose kernels are split evenly over all processors. One processor that is busy with a photo then
    delays all of them: the photo costs its full time beside an encoder, and is spread over the processors between two
    encodings.

    Encoding waits for at most `WAIT_SHARE` of the time that the last encoding took (`FIRST_WAIT_SECONDS` before the first).
    If reading takes longer, because of a slow disk or huge photos, one encoding runs beside it; if that happens again, two
    encodings do so without waiting, then four, and so on up to `MOST_BESIDE`.
    """

    def __init__(self):
        self._changed = threading.Condition()
        self._deferred: list[Start] = []
        self._unread = 0
        self._encoding = False
        self._wait_limit = FIRST_WAIT_SECONDS
        self._beside_left, self._next_beside = 0, 1

    def read(self, start: Start) -> None:
        """Call `start`, which begins to read and returns a future, now or when it is reading's turn."""
        with self._changed:
            self._unread += 1
            if self._encoding:
                self._deferred.append(start)
                return
        self._start(start)

    @contextmanager
    def encode(self) -> Iterator[None]:
        """A context in which no reading is started, unless reading takes too long."""
        self._wait_for_reading()
        started = time.monotonic()
        try:
            yield
        finally:
            self._wait_limit = WAIT_SHARE * (time.monotonic() - started)
            with self._changed:
                self._encoding = False
                deferred, self._deferred = self._deferred, []
            for start in deferred:
                self._start(start)

    def _wait_for_reading(self) -> None:
        with self._changed:
            if self._beside_left:
                self._beside_left -= 1
                return
            self._encoding = self._changed.wait_for(lambda: not self._unread, self._wait_limit)
            if self._encoding:
                self._next_beside = 1
            else:
                self._beside_left, self._next_beside = self._next_beside - 1, min(2 * self._next_beside, MOST_BESIDE)

    def _start(self, start: Start) -> None:
        start().add_done_callback(self._on_read)

    def _on_read(self, _: Future[Any]) -> None:
        with self._changed:
            self._unread -= 1
            self._changed.notify_all()
