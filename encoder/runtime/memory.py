"""Memory that the process has and doesn't use."""

from __future__ import annotations

import contextlib
import ctypes


def give_back_memory() -> None:
    """Give back to the system what C's allocator keeps of what was freed: loading and compiling leave hundreds of MB."""
    with contextlib.suppress(OSError, AttributeError):  # another C library keeps less
        ctypes.CDLL(None).malloc_trim(0)
