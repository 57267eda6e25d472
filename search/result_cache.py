"""A cache of the last search results, so that a repeated query is answered at once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from weakref import ref

from search.result import SearchResult
from storage.snapshot import Snapshot

MOST = 256
LONGEST_PAGE = 100
"""Results with more hits are not cached: a few of them could fill the memory."""


class ResultCache:
    """The last `most` results on one snapshot; it forgets those on another. Thread safe.

    A snapshot never changes, so a result on it stays right. The cache does not keep the snapshot open.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._lock = Lock()
        self._snapshot: Callable[[], Snapshot | None] = lambda: None
        self._kept: OrderedDict[Hashable, SearchResult] = OrderedDict()

    def get(self, snapshot: Snapshot, key: Hashable) -> SearchResult | None:
        """The result that was cached for this snapshot and key."""
        with self._lock:
            if self._snapshot() is not snapshot:
                self._snapshot = ref(snapshot)
                self._kept.clear()
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, snapshot: Snapshot, key: Hashable, result: SearchResult) -> None:
        """Cache a result, unless another snapshot is searched by now or the result is very long."""
        with self._lock:
            if self._snapshot() is not snapshot or len(result.hits) > LONGEST_PAGE:
                return
            self._kept[key] = result
            self._kept.move_to_end(key)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
