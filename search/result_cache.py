"""The last answers, so that a question that is asked again is not worked out again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from threading import Lock
from weakref import ref

from search.result import SearchResult

MOST = 256
LONGEST_PAGE = 100
"""Answers with more hits are not kept: some of them could fill the memory."""


class ResultCache:
    """The last `most` answers on one snapshot; those on another are forgotten. Thread safe.

    A snapshot never changes, so an answer on it stays right. It is not held open by this.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._lock = Lock()
        self._snapshot = lambda: None
        self._kept: OrderedDict[Hashable, SearchResult] = OrderedDict()

    def get(self, snapshot, key: Hashable) -> SearchResult | None:
        """What was answered on this very snapshot."""
        with self._lock:
            if self._snapshot() is not snapshot:
                self._snapshot = ref(snapshot)
                self._kept.clear()
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, snapshot, key: Hashable, result: SearchResult) -> None:
        """Keeps an answer, unless another snapshot is searched by now or the answer is very long."""
        with self._lock:
            if self._snapshot() is not snapshot or len(result.hits) > LONGEST_PAGE:
                return
            self._kept[key] = result
            self._kept.move_to_end(key)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
