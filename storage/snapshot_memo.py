"""What is made of a snapshot once, and kept beside it."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

Made = TypeVar("Made")


class SnapshotMemo(Generic[Made]):
    """One thing for each open snapshot, made when it is first asked for. Thread safe: who asks for what another thread makes
    waits for it, and nobody else does. It must not hold the snapshot, or that is never closed."""

    def __init__(self, make: Callable[[object], Made]) -> None:
        self._make = make
        self._lock = Lock()  # of the dictionary alone: never held while something is made
        self._kept: WeakKeyDictionary[object, _Place[Made]] = WeakKeyDictionary()

    def of(self, snapshot) -> Made:
        """What is kept for this snapshot."""
        with self._lock:
            place = self._kept.setdefault(snapshot, _Place())
        with place.lock:
            if place.made is None:
                place.made = self._make(snapshot)
            return place.made

    def made_of(self, snapshot) -> Made | None:
        """The same, where it was made already."""
        with self._lock:
            place = self._kept.get(snapshot)
        return None if place is None else place.made


class _Place(Generic[Made]):
    def __init__(self) -> None:
        self.lock, self.made = Lock(), None
