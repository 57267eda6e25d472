"""How much memory a process holds at the most."""

from __future__ import annotations

import os
import threading
from pathlib import Path

PAGE = os.sysconf("SC_PAGE_SIZE")
SECONDS = 0.005


def memory_of(process: int) -> tuple[int, int]:
    """Resident and anonymous bytes of a process: the latter are what is left without the pages of files. Zeros once it has
    ended."""
    try:
        resident, files = Path(f"/proc/{process}/statm").read_text().split()[1:3]
    except (OSError, ValueError):
        return 0, 0
    return int(resident) * PAGE, (int(resident) - int(files)) * PAGE


class Peak:
    """The most bytes that a process has while in a `with`: `resident`, and `anonymous` among them."""

    def __init__(self, process: int | None = None):
        """Of this process by default; another one can't hold up the thread that looks."""
        self._process = process or os.getpid()
        self.resident = self.anonymous = 0

    def __enter__(self) -> Peak:
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(SECONDS):
            resident, anonymous = memory_of(self._process)
            self.resident, self.anonymous = max(self.resident, resident), max(self.anonymous, anonymous)
