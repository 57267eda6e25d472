"""Measures the memory of processes, and its peak."""

from __future__ import annotations

import os
import threading
from pathlib import Path

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
SECONDS, SECONDS_WITH_CHILDREN = 0.005, 0.1


def memory_of(process: int) -> tuple[int, int]:
    """Resident and anonymous bytes of a process; zeros if it has ended. Anonymous is resident without the pages of files."""
    try:
        resident, files = Path(f"/proc/{process}/statm").read_text().split()[1:3]
    except (OSError, ValueError):
        return 0, 0
    return int(resident) * PAGE_BYTES, (int(resident) - int(files)) * PAGE_BYTES


def resident_with_children(process: int) -> int:
    """Resident bytes of a process and all its descendants; memory that they share is counted in each."""
    try:
        below = [
            int(child) for task in Path(f"/proc/{process}/task").iterdir() for child in (task / "children").read_text().split()
        ]
    except OSError:  # it has just ended
        return 0
    return memory_of(process)[0] + sum(resident_with_children(child) for child in below)


class Peak:
    """The peak memory of a process during a `with` block.

    Attributes:
        resident: resident bytes.
        anonymous: anonymous bytes.
        together: resident bytes of the process and all its descendants; 0 unless `children` is set.
    """

    def __init__(self, process: int | None = None, children: bool = False):
        """Prepare to watch a process, by default this one (which can delay the watching thread)."""
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
