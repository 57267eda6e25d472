"""The last published version of a collection, held open."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from pathlib import Path
from threading import Lock, Thread

from storage.collection import Collection
from storage.snapshot import Snapshot

PATIENCE_S = 2.0
Warm = Callable[[Snapshot, Snapshot], None]
"""Reads of a new snapshot, its first argument, what was read of the one before."""


class SnapshotCache:
    """Opens a collection's snapshot once, and again whenever another version has been published. Thread safe.

    A search goes on with the snapshot it began with, for a snapshot never changes. The next one is opened by one thread, and
    has what the one before had in memory (words, columns) before it takes its place: nobody waits for that longer than
    PATIENCE_S while there is one to go on with.
    """

    def __init__(self, collection: Collection, warm: Sequence[Warm] = ()) -> None:
        self._collection, self._warm = collection, warm
        self._manifest = Path(collection.folder) / "manifest.json"
        self._lock = Lock()  # never held while anything is opened
        self._snapshot: Snapshot | None = None
        self._seen: tuple | None = None
        self._next: Future | None = None

    def get(self) -> Snapshot:
        """The snapshot of what is published now, or the one before while that is being opened.

        Who first sees that another is published waits a moment for it. Raises EmptyCollection where nothing is published, or
        what opening raises.
        """
        held, opening, ours = self._ahead(lambda: self._look() == self._seen)
        if opening is None:
            return held
        if held is None:
            return opening.result()
        if ours:
            wait([opening], PATIENCE_S)
        return opening.result() if ours and opening.done() else held

    def wait_for(self, version: int) -> None:
        """Returns once a version that this process has published, or a later one, is the one that `get` gives; raises what
        opening raises."""
        for last in (False, True):  # what is being opened now may be older, and may fail; what is opened after that is not
            _, opening, _ = self._ahead(lambda: self._snapshot.version >= version)
            if opening is None:
                return
            wait([opening])
            if last:
                opening.result()

    def _ahead(self, fits: Callable[[], bool]) -> tuple[object, Future | None, bool]:
        """The snapshot that is held; unless it fits, what becomes the next one, and whether this call has begun that."""
        with self._lock:
            held, opening = self._snapshot, self._next
            if held is not None and fits():
                return held, None, False
            ours = opening is None
            if ours:
                opening = self._next = Future()
        if ours and held is None:
            self._open(opening, held)
        elif ours:
            Thread(target=self._open, args=(opening, held), name="open-version", daemon=True).start()
        return held, opening, ours

    def _open(self, opening: Future, before) -> None:
        seen = self._look()
        try:
            snapshot = self._collection.open_snapshot()
            if before is not None:
                for warm in self._warm:
                    warm(snapshot, before)
        except BaseException as error:  # whoever waits is told
            with self._lock:
                self._next = None
            opening.set_exception(error)
        else:
            with self._lock:
                self._snapshot, self._seen, self._next = snapshot, seen, None
            opening.set_result(snapshot)

    def _look(self) -> tuple | None:
        """What changes with each publication, for that replaces the manifest's file by a new one."""
        try:
            status = self._manifest.stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size
