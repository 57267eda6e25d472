"""Reading and encoding in turns, where both want every processor."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager

SHARE = 0.25
AT_FIRST = 1.0
LONGEST = 64


class CpuTurns:
    """While something is encoded, no photo is begun; before that, those that were asked for are waited for.

    For an encoder whose kernels are split over all processors beforehand: one processor that is busy with a photo holds up all
    of them, so that its time counts in full beside an encoder, and is shared out between two encodings.

    Waiting takes at most a quarter of the time that the last encoding took, and before the first a second. Reading that takes
    longer, from a slow disk or of huge photos, goes on beside the encoder for one encoding, for two if that happens again, then
    for four, and so on.
    """

    def __init__(self):
        self._changed = threading.Condition()
        self._held: list[Callable[[], Future]] = []
        self._unread = 0
        self._encoding = False
        self._patience = AT_FIRST
        self._beside, self._next_time = 0, 1

    def read(self, start: Callable[[], Future]) -> None:
        """Call `start`, which begins to read and gives a future, now or as soon as it is reading's turn."""
        with self._changed:
            self._unread += 1
            if self._encoding:
                self._held.append(start)
                return
        self._start(start)

    @contextmanager
    def encode(self) -> Iterator[None]:
        """In here nothing is begun to be read, unless reading takes too long."""
        self._wait_for_reading()
        started = time.monotonic()
        try:
            yield
        finally:
            self._patience = SHARE * (time.monotonic() - started)
            with self._changed:
                self._encoding = False
                held, self._held = self._held, []
            for start in held:
                self._start(start)

    def _wait_for_reading(self) -> None:
        with self._changed:
            if self._beside:
                self._beside -= 1
                return
            self._encoding = self._changed.wait_for(lambda: not self._unread, self._patience)
            if self._encoding:
                self._next_time = 1
            else:
                self._beside, self._next_time = self._next_time - 1, min(2 * self._next_time, LONGEST)

    def _start(self, start: Callable[[], Future]) -> None:
        start().add_done_callback(self._one_read)

    def _one_read(self, _: Future) -> None:
        with self._changed:
            self._unread -= 1
            self._changed.notify_all()
