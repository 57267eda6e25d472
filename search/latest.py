"""The last published version of a collection, held open."""

from __future__ import annotations

from threading import Lock


class LatestSnapshot:
    """Opens a collection's snapshot once, and again whenever another version has been published. Thread safe.

    A search goes on with the snapshot it began with, for a snapshot never changes.
    """

    def __init__(self, collection) -> None:
        self._collection = collection
        self._lock = Lock()
        self._snapshot = None

    def get(self):
        """The snapshot of the version that the manifest names now; raises EmptyCollection where there is none."""
        with self._lock:
            if self._snapshot is None or self._snapshot.version != self._collection.manifest.version:
                self._snapshot = self._collection.open_snapshot()
            return self._snapshot
