"""How long the stages of a query take."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter


class Stopwatch:
    """Adds up the milliseconds of named stages.

    Attributes:
        started: the time at which it was made, in seconds of `perf_counter`.
        ms: milliseconds by stage; the `stages` it was made with are 0 until they run.
    """

    def __init__(self, *stages: str) -> None:
        self.started = perf_counter()
        self.ms = dict.fromkeys(stages, 0.0)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time of the `with` block to the stage `name`."""
        start = perf_counter()
        try:
            yield
        finally:
            self.ms[name] = self.ms.get(name, 0.0) + 1000 * (perf_counter() - start)

    def total_ms(self) -> float:
        """Milliseconds since the stopwatch was made."""
        return 1000 * (perf_counter() - self.started)
