"""How much memory processes hold, and at the most."""

from __future__ import annotations

import os
import threading
from pathlib import Path

PAGE = os.sysconf("SC_PAGE_SIZE")
SECONDS, SECONDS_WITH_CHILDREN = 0.005, 0.1


def memory_of(process: int) -> tuple[int, int]:
    """Resident and anonymous bytes of a process: the latter are what is left without the pages of files. Zeros once it has
    ended."""
    try:
        resident, files = Path(f"/proc/{process}/statm").read_text().split()[1:3]
    except (OSError, ValueError):
        return 0, 0
    return int(resident) * PAGE, (int(resident) - int(files)) * PAGE


def resident_with_children(process: int) -> int:
    """Resident bytes of a process and of all below it; what they share is counted in each."""
    try:
        below = [
            int(child) for task in Path(f"/proc/{process}/task").iterdir() for child in (task / "children").read_text().split()
        ]
    except OSError:  # it has just ended
        return 0
    return memory_of(process)[0] + sum(resident_with_children(child) for child in below)


class Peak:
    """The most bytes that a process has while in a `with`: `resident`, and `anonymous` among them.

    `together` is what is resident of the process and of all below it, which is looked at where `children` is set.
    """

    def __init__(self, process: int | None = None, children: bool = False):
        """Of this process by default; another one can't hold up the thread that looks."""
        self._process, self._children = process or os.getpid(), children
        self.resident = self.anonymous = self.together = 0

    def __enter__(self) -> Peak:
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(SECONDS_WITH_CHILDREN if self._children else SECONDS):
            resident, anonymous = memory_of(self._process)
            self.resident, self.anonymous = max(self.resident, resident), max(self.anonymous, anonymous)
            if self._children:
                self.together = max(self.together, resident_with_children(self._process))
