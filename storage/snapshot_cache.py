"""A cache that holds the last published version of a collection open."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from pathlib import Path
from threading import Lock, Thread

from storage.collection import Collection
from storage.snapshot import Snapshot

PATIENCE_S = 2.0
ManifestState = tuple[int, int, int]
"""Inode, time of change in ns, and size of the manifest's file."""
Warm = Callable[[Snapshot, Snapshot], None]
"""A function that reads of a new snapshot, its first argument, what was read of the one before."""


class SnapshotCache:
    """Opens a collection's snapshot once, and again after another version was published. Thread safe.

    A search goes on with the snapshot it began with: a snapshot never changes. One thread opens the next snapshot, and warms
    it: it reads what the one before had in memory (words, columns). Meanwhile callers get the one before; none of them waits
    longer than PATIENCE_S.
    """

    def __init__(self, collection: Collection, warm: Sequence[Warm] = ()) -> None:
        """Name the collection; it is opened at the first `get`. `warm` functions are called for every later snapshot."""
        self._collection, self._warm = collection, warm
        self._manifest = Path(collection.folder) / "manifest.json"
        self._lock = Lock()  # never held while anything is opened
        self._snapshot: Snapshot | None = None
        self._state: ManifestState | None = None
        self._next: Future[Snapshot] | None = None

    def get(self) -> Snapshot:
        """The snapshot of what is published now, or the one before while the new one is being opened.

        The first caller after a publication waits up to PATIENCE_S for the new one.

        Raises:
            EmptyCollection: Nothing is published.
            StorageError: The collection can't be opened.
        """
        held, opening, ours = self._held_or_opening(lambda _: self._manifest_state() == self._state)
        if opening is None:
            assert held is not None  # or it would be opened
            return held
        if held is None:
            return opening.result()
        if ours:
            wait([opening], PATIENCE_S)
        return opening.result() if ours and opening.done() else held

    def wait_for(self, version: int) -> None:
        """Wait until `get` gives this version or a later one.

        Args:
            version: A version that this process has published.

        Raises:
            StorageError: The collection can't be opened.
        """
        for last in (False, True):  # what is being opened now may be older, and may fail; what is opened after that is not
            _, opening, _ = self._held_or_opening(lambda held: held.version >= version)
            if opening is None:
                return
            wait([opening])
            if last:
                opening.result()

    def _held_or_opening(self, fits: Callable[[Snapshot], bool]) -> tuple[Snapshot | None, Future[Snapshot] | None, bool]:
        """The snapshot that is held; unless it fits, the future of the next one, and True if this call has begun to open it."""
        with self._lock:
            held, opening = self._snapshot, self._next
            if held is not None and fits(held):
                return held, None, False
            ours = opening is None
            if ours:
                opening = self._next = Future()
        if ours and held is None:
            self._open(opening, held)
        elif ours:
            Thread(target=self._open, args=(opening, held), name="open-version", daemon=True).start()
        return held, opening, ours

    def _open(self, opening: Future[Snapshot], before: Snapshot | None) -> None:
        state = self._manifest_state()
        try:
            snapshot = self._collection.open_snapshot()
            if before is not None:
                for warm in self._warm:
                    warm(snapshot, before)
        except BaseException as error:  # for those who wait
            with self._lock:
                self._next = None
            opening.set_exception(error)
        else:
            with self._lock:
                self._snapshot, self._state, self._next = snapshot, state, None
            opening.set_result(snapshot)

    def _manifest_state(self) -> ManifestState | None:
        """A value that changes with each publication, which replaces the manifest's file by a new one."""
        try:
            status = self._manifest.stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size
