"""Reading many photos in worker processes, in order, with a bounded number under way."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing.connection import wait

from indexer.cpu_scheduling import CpuTurns
from indexer.errors import WorkersUnavailable
from indexer.items import Failure
from indexer.photo_loader import FileState, Job, Photo, load_photo

LOOK_AHEAD = 128
FEW = 32
NICENESS = 10

Result = Photo | FileState | Failure


class PhotoRequest:
    """A photo that was asked for, whose reading may have to wait for its turn."""

    def __init__(self, job: Job):
        self.job = job
        self._begun = threading.Event()

    def begin(self, submit: Callable[[Job], Future]) -> Future:
        """Have it read by what `submit` gives it to."""
        self._future = submit(self.job)
        self._begun.set()
        return self._future

    def result(self) -> Result:
        """What was read; waits for its turn and for it. Raises BrokenProcessPool."""
        self._begun.wait()
        return self._future.result()


class PhotoReader:
    """Reads photos with `workers` processes, or in this one with 0, in `turns` with the encoder if there are any. Use it in a
    `with`."""

    def __init__(self, workers: int, turns: CpuTurns | None = None):
        """No process starts before there is a photo to read."""
        self._workers, self._turns = workers, turns or CpuTurns()
        self._lock = threading.Lock()
        self._pool: ProcessPoolExecutor | None = None
        self._careful: ProcessPoolExecutor | None = None

    def __enter__(self) -> PhotoReader:
        return self

    def __exit__(self, *error: object) -> None:
        for pool in (self._pool, self._careful):
            if pool is not None:
                pool.shutdown(wait=True, cancel_futures=True)

    def read(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Result]]:
        """Each job with its own result, in the order of `jobs`, of which at most LOOK_AHEAD are taken beforehand."""
        if self._workers == 0:
            yield from ((job, load_photo(job)) for job in jobs)
            return
        waiting: deque[PhotoRequest] = deque()
        for job in jobs:
            waiting.append(self._ask(job))
            if len(waiting) >= LOOK_AHEAD:
                yield self._settled(waiting.popleft())
        while waiting:
            yield self._settled(waiting.popleft())

    def _ask(self, job: Job) -> PhotoRequest:
        asked = PhotoRequest(job)
        self._turns.read(partial(asked.begin, self._submit))
        return asked

    def _submit(self, job: Job) -> Future:
        """Never raises: a future says what went wrong."""
        with self._lock:
            try:
                if self._pool is None:
                    self._pool = _pool(self._workers)
                try:
                    return self._pool.submit(load_photo, job)
                except BrokenProcessPool:
                    self._pool = _pool(self._workers)
                    return self._pool.submit(load_photo, job)
            except Exception as error:
                failed = Future()
                failed.set_exception(error)
                return failed

    def _settled(self, asked: PhotoRequest) -> tuple[Job, Result]:
        try:
            return asked.job, asked.result()
        except BrokenProcessPool:
            return asked.job, self._read_alone(asked.job)

    def _read_alone(self, job: Job) -> Result:
        """Read one of the photos that were under way when a worker died: is it the one that kills?"""
        if self._careful is None:
            self._careful = _pool(1)
        try:
            self._careful.submit(os.getpid).result()
        except BrokenProcessPool as error:
            raise WorkersUnavailable from error
        try:
            return self._careful.submit(load_photo, job).result()
        except BrokenProcessPool:
            self._careful = None
            return Failure(job.uri, "crashed", f"{job.uri} ended the process that read it; replace or remove the file.")


def default_workers(photos: int, beside_encoder: bool) -> int:
    """0 for so few photos that starting processes would take longer; else one for each processor that is ours.

    Half of that where an encoder needs the processors at the same time: enough while reading a photo takes no more of them than
    encoding one does.
    """
    if photos <= FEW:
        return 0
    processors = len(os.sched_getaffinity(0))
    return max(1, processors // 2) if beside_encoder else processors


def _pool(workers: int) -> ProcessPoolExecutor:
    # Not forked: the encoder's threads hold locks that a forked child would wait for without end.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_begin_worker)


def _begin_worker() -> None:
    """Leave Ctrl-C to the parent, end when the parent is gone, however it ended, and let the encoder go first.

    The threads of an encoder on CPU wait for one another: one that is held up for a photo holds up all of them.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    wait([multiprocessing.parent_process().sentinel])
    os._exit(1)
