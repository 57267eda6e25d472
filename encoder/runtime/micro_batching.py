"""Threads that run an encoder's work; requests that wait at the same time share a batch."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock
from typing import TypeVar

import numpy as np

Columns = tuple[np.ndarray, ...]
A = TypeVar("A")
R = TypeVar("R")


@dataclass(eq=False)
class _Request:
    """Rows that wait for a batch.

    Attributes:
        columns: arrays [n, ...].
        taken: the number of rows that went into batches.
        results: what came out of the batches, each with the number of its first row.
    """

    key: Hashable
    columns: Columns
    taken: int = 0
    results: list[tuple[int, Columns]] = field(default_factory=list)
    future: Future[Columns] = field(default_factory=Future)

    @property
    def left(self) -> int:
        return len(self.columns[0]) - self.taken


@dataclass(frozen=True, eq=False)
class _Share:
    """The rows of one request that go into a batch."""

    request: _Request
    rows: slice


class BatchingWorker:
    """Runs calls in the order in which they came, each in one of its threads; rows of the same key run together.

    Nothing is held back: when a thread is free it takes what waits at that moment, be it one row.
    """

    def __init__(self, name: str, threads: int = 1) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self.threads = threads
        self._lock = Lock()
        self._waiting: list[_Request] = []

    def call(self, function: Callable[..., R], *arguments: object) -> R:
        """Run a function in one of the threads; gives what it gives, raises what it raises."""
        return self._pool.submit(function, *arguments).result()

    def map(self, function: Callable[[A], R], arguments: Iterable[A]) -> list[R]:
        """Run a function for each argument, in as many threads as are free; gives the results in order."""
        return [future.result() for future in [self._pool.submit(function, argument) for argument in arguments]]

    def rows(self, key: Hashable, columns: Columns, run: Callable[..., Columns], most: int) -> Columns:
        """Run rows together with rows of the same key that other threads ask for.

        Args:
            key: rows of one key fit into one batch: they have the same shapes, `run` and `most`.
            columns: arrays [n, ...], n at least 1.
            run: makes arrays [m, ...] of columns [m, ...], m <= `most`; its row i must depend on row i alone.
            most: the most rows of a batch.

        Returns:
            What `run` gives for these rows, arrays [n, ...].

        Raises:
            Exception: what `run` raises for these rows, never for rows of other threads.
        """
        request = _Request(key, columns)
        with self._lock:
            self._waiting.append(request)
        for _ in range(min(self.threads, -(-request.left // most))):
            self._pool.submit(self._serve, request, run, most)
        return request.future.result()

    def _serve(self, request: _Request, run: Callable[..., Columns], most: int) -> None:
        """Run batches until no rows of the request wait; earlier batches may have taken them all."""
        while shares := self._take(request, most):
            self._run(shares, run)

    def _take(self, first: _Request, most: int) -> list[_Share]:
        """Take the next batch of a request, filled up with other rows of its key; empty if no rows of the request wait."""
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
        """Run a batch and hand out the results. If it fails, run each request alone, so that only the wrong one fails."""
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
        """Add the results of some rows of a request, and end the request with its last. Threads may come in any order."""
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
