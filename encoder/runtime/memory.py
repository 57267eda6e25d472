"""Memory that the process holds and doesn't use."""

from __future__ import annotations

import contextlib
import ctypes


def give_back_memory() -> None:
    """Return freed memory from C's allocator to the system: loading and compiling leave hundreds of MB there."""
    with contextlib.suppress(OSError, AttributeError):  # another C library keeps less
        ctypes.CDLL(None).malloc_trim(0)
