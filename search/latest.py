"""The last published version of a collection, held open."""

from __future__ import annotations

from pathlib import Path
from threading import Lock


class LatestSnapshot:
    """Opens a collection's snapshot once, and again whenever another version has been published. Thread safe.

    A search goes on with the snapshot it began with, for a snapshot never changes.
    """

    def __init__(self, collection) -> None:
        self._collection = collection
        self._manifest = Path(collection.folder) / "manifest.json"
        self._lock = Lock()
        self._snapshot = None
        self._seen: tuple | None = None

    def get(self):
        """The snapshot of what is published now; raises EmptyCollection where nothing is, or what opening raises."""
        with self._lock:
            seen = self._look()
            if self._snapshot is None or seen != self._seen:
                self._snapshot = self._collection.open_snapshot()
                self._seen = seen
            return self._snapshot

    def _look(self) -> tuple | None:
        """What changes with each publication, for that replaces the manifest's file by a new one."""
        try:
            status = self._manifest.stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size
