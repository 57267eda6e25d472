"""What is computed from a snapshot once, and kept as long as the snapshot is open."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

from storage.segments.segment_set import SegmentSet

Made = TypeVar("Made")


class SnapshotMemo(Generic[Made]):
    """One value for each open snapshot, made when it is first needed. Thread safe.

    Only threads that need the value that is being made wait for it. A value must not hold its snapshot: the snapshot would
    never be closed.
    """

    def __init__(self, make: Callable[[Any], Made]) -> None:
        """`make` takes a snapshot and makes its value, which must not be None."""
        self._make = make
        self._lock = Lock()  # of the dictionary alone: never held while a value is made
        self._slots: WeakKeyDictionary[SegmentSet, _Slot[Made]] = WeakKeyDictionary()

    def of(self, snapshot: SegmentSet) -> Made:
        """The value for this snapshot; made now if there is none."""
        with self._lock:
            slot = self._slots.setdefault(snapshot, _Slot())
        with slot.lock:
            if slot.made is None:
                slot.made = self._make(snapshot)
            return slot.made

    def made_of(self, snapshot: SegmentSet) -> Made | None:
        """The value for this snapshot; None if it was not made yet."""
        with self._lock:
            slot = self._slots.get(snapshot)
        return None if slot is None else slot.made


class _Slot(Generic[Made]):
    def __init__(self) -> None:
        self.lock = Lock()
        self.made: Made | None = None
