"""Threads for all that an encoder computes, where requests that wait at the same time share a batch."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock

import numpy as np

Columns = tuple[np.ndarray, ...]


@dataclass(eq=False)
class _Request:
    """Rows that wait: `columns` are arrays [n, ...], of which `taken` went into batches; `results` is what came of them, with
    the first row of each."""

    key: Hashable
    columns: Columns
    taken: int = 0
    results: list[tuple[int, Columns]] = field(default_factory=list)
    future: Future = field(default_factory=Future)

    @property
    def left(self) -> int:
        return len(self.columns[0]) - self.taken


@dataclass(frozen=True, eq=False)
class _Share:
    """The rows of one request that go into a batch."""

    request: _Request
    rows: slice


class BatchingWorker:
    """Runs things in the order in which they came, each in one of its threads; rows of the same key run together.

    Nothing is held back: a batch is what waits at the moment that a thread is free, be it one row.
    """

    def __init__(self, name: str, threads: int = 1) -> None:
        self._thread = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self.threads = threads
        self._lock = Lock()
        self._waiting: list[_Request] = []

    def call(self, function: Callable, *arguments):
        """What the function gives, or raises, when it has the thread for itself."""
        return self._thread.submit(function, *arguments).result()

    def map(self, function: Callable, arguments: Iterable) -> list:
        """What the function gives for each argument, each in a thread of its own as threads are free."""
        return [future.result() for future in [self._thread.submit(function, argument) for argument in arguments]]

    def rows(self, key: Hashable, columns: Columns, run: Callable[..., Columns], most: int) -> Columns:
        """Runs rows, at most `most` at a time, together with those that other threads ask for under the same key.

        Args:
            key: rows of one key fit into one batch: they have the same shapes, `run` and `most`.
            columns: arrays [n, ...], n at least 1.
            run: from columns [m, ...] with m <= most to arrays [m, ...], whose row i depends on row i alone.

        Returns what `run` gives, arrays [n, ...]. Raises what `run` raises for these rows, never for those of others.
        """
        request = _Request(key, columns)
        with self._lock:
            self._waiting.append(request)
        for _ in range(min(self.threads, -(-request.left // most))):
            self._thread.submit(self._serve, request, run, most)
        return request.future.result()

    def _serve(self, request: _Request, run: Callable[..., Columns], most: int) -> None:
        """Runs batches until the request is done, which earlier batches may have seen to already."""
        while shares := self._take(request, most):
            self._run(shares, run)

    def _take(self, first: _Request, most: int) -> list[_Share]:
        """The next batch of a request, filled up with what waits beside it; nothing where the request waits no more."""
        shares: list[_Share] = []
        with self._lock:
            if first not in self._waiting:
                return shares
            for request in [first, *(one for one in self._waiting if one.key == first.key and one is not first)]:
                count = min(most, request.left)
                if count == 0:
                    break
                shares.append(_Share(request, slice(request.taken, request.taken + count)))
                request.taken += count
                most -= count
                if request.left == 0:
                    self._waiting.remove(request)
        return shares

    def _run(self, shares: list[_Share], run: Callable[..., Columns]) -> None:
        """Runs a batch and hands everyone their rows; where it fails, each request's rows alone, so that only one has to."""
        try:
            parts = [[column[share.rows] for column in share.request.columns] for share in shares]
            results = run(*(np.concatenate(column) for column in zip(*parts, strict=True)))
        except Exception as error:
            if len(shares) == 1:
                self._fail(shares[0].request, error)
            else:
                for share in shares:
                    self._run([share], run)
            return
        start = 0
        for share in shares:
            end = start + share.rows.stop - share.rows.start
            self._hand_over(share, tuple(result[start:end] for result in results))
            start = end

    def _hand_over(self, share: _Share, results: Columns) -> None:
        """Adds results of some of a request's rows, and ends it with the last; threads may come with them in any order."""
        request = share.request
        with self._lock:
            request.results.append((share.rows.start, results))
            done = sum(len(part[0]) for _, part in request.results) == len(request.columns[0])
        if not done:
            return
        try:
            parts = [part for _, part in sorted(request.results, key=lambda one: one[0])]
            request.future.set_result(tuple(np.concatenate(column) for column in zip(*parts, strict=True)))
        except Exception as error:
            self._fail(request, error)

    def _fail(self, request: _Request, error: Exception) -> None:
        with self._lock:
            if request in self._waiting:
                self._waiting.remove(request)
            if not request.future.done():
                request.future.set_exception(error)
