"""Photos that strangers send are decoded in a process of their own, with little memory and within a time limit."""

from __future__ import annotations

import multiprocessing
import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Lock
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from search import UnreadablePhoto
from web.errors import Busy
from web.limits import LARGEST_PIXELS

if TYPE_CHECKING:
    from multiprocessing.connection import Connection, PipeConnection

    from encoder.api import EncoderConfig
    from encoder.inputs.image_inputs import ImageInput

    _Connection = Connection[Any, Any] | PipeConnection[Any, Any]

TOO_LARGE = f"the uploaded photo has more than the {LARGEST_PIXELS // 10**6} million pixels that are read; scale it down."
DECODE_TIMEOUT_S = 20.0
MEMORY_BYTES = 1_500_000_000
START_TIMEOUT_S = 120.0
CHUNK_BYTES = 1 << 20
_READY = "ready"


@dataclass(frozen=True)
class DecoderConfig:
    """What the worker process needs to know of the model (see `encoder.api.ImageConfig`)."""

    name: str
    inputs: ImageInput


@dataclass(frozen=True)
class _Worker:
    """A decoding process, and our end of the pipe to it."""

    process: BaseProcess
    connection: _Connection


class PhotoDecoder:
    """One worker process. It starts with the first photo, and anew after each photo that ended it.

    Thread safe; decodes one photo at a time.

    Args:
        timeout_s: How long a photo may take, in seconds.
        memory_bytes: How many bytes the worker may take beyond what it has when it is ready.
    """

    def __init__(self, timeout_s: float = DECODE_TIMEOUT_S, memory_bytes: int = MEMORY_BYTES) -> None:
        self._timeout_s, self._memory_bytes = timeout_s, memory_bytes
        self._lock = Lock()
        self._worker: _Worker | None = None

    def read(self, file: IO[bytes], config: EncoderConfig) -> tuple[np.ndarray, bytes]:
        """Decode a photo as `search.query.query_photo.read_photo_with_preview` does.

        Args:
            file: The photo's file. It is handed on in pieces: only the worker ever has it whole.
            config: The encoder's config, which says how photos are prepared.

        Returns:
            The prepared photo, such as uint8 [S, S, 3], and a small JPEG of it.

        Raises:
            UnreadablePhoto: It is no photo that can be read, takes too long or too much memory, or ended the worker.
            Busy: No worker could be started.
        """
        needed = DecoderConfig(config.name, config.inputs)
        with self._lock:
            answer = self._ask(file, needed)
        if isinstance(answer, str):
            raise UnreadablePhoto(answer)
        return answer

    def warm_up(self) -> None:
        """Start the worker, so that the first photo need not wait for it. If it can't start, the first photo says so."""
        with suppress(Busy), self._lock:
            self._running_worker()

    def close(self) -> None:
        """End the worker."""
        if self._worker is not None:
            self._worker.process.kill()
            self._worker.process.join()
            self._worker.connection.close()
        self._worker = None

    def _ask(self, file: IO[bytes], config: DecoderConfig) -> tuple[np.ndarray, bytes] | str:
        """Have the worker decode: the photo, or a message about what is wrong with it."""
        connection = self._running_worker().connection
        try:
            _send(connection, file, config)
            if connection.poll(self._timeout_s):
                return connection.recv()
            problem = f"The uploaded photo takes longer than {self._timeout_s:g} s to decode: try a smaller one."
        except (EOFError, OSError):
            problem = "The uploaded photo ended the process that decoded it: try another file."
        self.close()
        return problem

    def _running_worker(self) -> _Worker:
        if self._worker is None or not self._worker.process.is_alive():
            self.close()
            self._worker = self._start()
        return self._worker

    def _start(self) -> _Worker:
        # Not forked: the encoder's threads hold locks that a forked child would wait for without end.
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs, self._memory_bytes), name="decode-photos", daemon=True)
        try:
            process.start()
            theirs.close()
            if not ours.poll(START_TIMEOUT_S):
                raise TimeoutError("it isn't ready")
            ours.recv()  # _READY, or EOFError where it has ended
        except (OSError, EOFError) as error:
            for end in (ours, theirs):
                end.close()
            if process.pid is not None:
                process.kill()
                process.join()
            raise Busy("No process could be started to decode the photo: try again in a few seconds.") from error
        return _Worker(process, ours)


def _work(connection: _Connection, memory_bytes: int) -> None:
    """Decode photos until the other side is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _limit_memory(memory_bytes)
    with suppress(EOFError, OSError):
        connection.send(_READY)
        while True:
            connection.send(_decode(*_receive(connection)))


def _send(connection: _Connection, file: IO[bytes], config: DecoderConfig) -> None:
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    connection.send((size, config))
    while chunk := file.read(CHUNK_BYTES):
        connection.send_bytes(chunk)


def _receive(connection: _Connection) -> tuple[bytes, DecoderConfig]:
    size, config = connection.recv()
    content = BytesIO()
    while content.tell() < size:
        content.write(connection.recv_bytes())
    return content.getvalue(), config


def _decode(content: bytes, config: DecoderConfig) -> tuple[np.ndarray, bytes] | str:
    from search.query.query_photo import read_photo_with_preview

    try:
        check_upload(content)
        return read_photo_with_preview(content, config)
    except UnreadablePhoto as error:
        return str(error)
    except MemoryError:
        return "The uploaded photo takes too much memory to decode: scale it down."


def check_upload(content: bytes) -> None:
    """Check the format and the number of pixels of an upload; decode nothing.

    Raises:
        UnreadablePhoto: The format is none that is taken, or there are more than LARGEST_PIXELS pixels.
    """
    from encoder.errors import UnreadableImage
    from encoder.inputs.pixels import size_of

    try:
        width, height = size_of(content)
    except UnreadableImage as error:
        raise UnreadablePhoto(TOO_LARGE if error.reason == "too_large" else str(error)) from error
    if width * height > LARGEST_PIXELS:
        raise UnreadablePhoto(TOO_LARGE)


def _limit_memory(more: int) -> None:
    """Allow this process `more` bytes beyond what it has, if the system can do that."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + more
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
