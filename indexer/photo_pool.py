"""Reads many photos in worker processes, in order, with a bounded number under way."""

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
FEW_PHOTOS = 32
NICENESS = 10

Result = Photo | FileState | Failure


class PhotoRequest:
    """A photo that was requested, whose reading may have to wait for its turn."""

    def __init__(self, job: Job):
        self.job = job
        self._begun = threading.Event()

    def begin(self, submit: Callable[[Job], Future[Result]]) -> Future[Result]:
        """Start reading: give the job to `submit`, and return its future."""
        self._future = submit(self.job)
        self._begun.set()
        return self._future

    def result(self) -> Result:
        """What was read. Waits until it was this photo's turn and it was read.

        Raises:
            BrokenProcessPool: a worker process died.
        """
        self._begun.wait()
        return self._future.result()


class PhotoReader:
    """Reads photos, in a `with` block."""

    def __init__(self, workers: int, turns: CpuTurns | None = None):
        """Prepare to read. No process starts before there is a photo to read.

        Args:
            workers: the number of worker processes; with 0, this process reads.
            turns: lets reading and encoding take turns; None reads at once.
        """
        self._workers, self._turns = workers, turns or CpuTurns()
        self._lock = threading.Lock()
        self._pool: ProcessPoolExecutor | None = None
        self._single_pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> PhotoReader:
        return self

    def __exit__(self, *error: object) -> None:
        for pool in (self._pool, self._single_pool):
            if pool is not None:
                pool.shutdown(wait=True, cancel_futures=True)

    def read(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Result]]:
        """Each job with its result, in the order of `jobs`. At most LOOK_AHEAD jobs are taken in advance.

        Raises:
            WorkersUnavailable: worker processes don't start.
        """
        if self._workers == 0:
            yield from ((job, load_photo(job)) for job in jobs)
            return
        waiting: deque[PhotoRequest] = deque()
        for job in jobs:
            waiting.append(self._request(job))
            if len(waiting) >= LOOK_AHEAD:
                yield self._completed(waiting.popleft())
        while waiting:
            yield self._completed(waiting.popleft())

    def _request(self, job: Job) -> PhotoRequest:
        request = PhotoRequest(job)
        self._turns.read(partial(request.begin, self._submit))
        return request

    def _submit(self, job: Job) -> Future[Result]:
        """Give a job to the pool, which is started anew if it broke. Never raises: an error is in the future."""
        with self._lock:
            try:
                if self._pool is None:
                    self._pool = _new_pool(self._workers)
                try:
                    return self._pool.submit(load_photo, job)
                except BrokenProcessPool:
                    self._pool = _new_pool(self._workers)
                    return self._pool.submit(load_photo, job)
            except Exception as error:
                failed: Future[Result] = Future()
                failed.set_exception(error)
                return failed

    def _completed(self, request: PhotoRequest) -> tuple[Job, Result]:
        try:
            return request.job, request.result()
        except BrokenProcessPool:
            return request.job, self._read_alone(request.job)

    def _read_alone(self, job: Job) -> Result:
        """Read a photo that was under way when a worker died, in a process of its own, to see if it is the cause."""
        if self._single_pool is None:
            self._single_pool = _new_pool(1)
        try:
            self._single_pool.submit(os.getpid).result()
        except BrokenProcessPool as error:
            raise WorkersUnavailable from error
        try:
            return self._single_pool.submit(load_photo, job).result()
        except BrokenProcessPool:
            self._single_pool = None
            return Failure(job.uri, "crashed", f"{job.uri} ended the process that read it; replace or remove the file.")


def default_workers(photos: int, beside_encoder: bool) -> int:
    """The number of worker processes for a run.

    Args:
        photos: how many photos there are; for few of them, starting processes takes longer than reading (0 workers).
        beside_encoder: an encoder uses the processors at the same time, so that only half of them are taken. This is enough
            if reading a photo takes no more processor time than encoding it.
    """
    if photos <= FEW_PHOTOS:
        return 0
    processors = len(os.sched_getaffinity(0))
    return max(1, processors // 2) if beside_encoder else processors


def _new_pool(workers: int) -> ProcessPoolExecutor:
    # Not forked: the encoder's threads hold locks that a forked child would wait for without end.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_begin_worker)


def _begin_worker() -> None:
    """Prepare a worker process: ignore Ctrl-C, end with the parent, and give priority to the encoder.

    The threads of an encoder on CPU wait for each other: a photo that delays one of them delays all.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "this is a worker process"
    wait([parent.sentinel])
    os._exit(1)
