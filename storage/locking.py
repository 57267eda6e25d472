"""A lock that admits one writer at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from storage.errors import CollectionBusy


def take_lock(folder: Path) -> int:
    """Lock a collection's folder. The system releases the lock when the process dies.

    Returns:
        A file descriptor; `os.close` releases the lock.

    Raises:
        CollectionBusy: Another process has the lock.
    """
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise CollectionBusy(folder.name, holder) from error
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a collection's folder in a `with` block.

    Raises:
        CollectionBusy: Another process has the lock.
    """
    descriptor = take_lock(folder)
    try:
        yield
    finally:
        os.close(descriptor)
