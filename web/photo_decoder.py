"""Photos that strangers send are decoded in a process of their own, which has little memory and is ended if it takes long."""

from __future__ import annotations

import multiprocessing
import signal
from contextlib import suppress
from io import BytesIO
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Lock
from types import SimpleNamespace

import numpy as np

from search import UnreadablePhoto
from web.errors import Busy
from web.image_types import upload_format

LARGEST_PIXELS = 64_000_000
SECONDS = 20.0
MEMORY = 1_500_000_000
START_SECONDS = 120.0
_READY = "ready"


class PhotoDecoder:
    """One worker process, started with the first photo and anew after each that ended it. Thread safe, one at a time.

    Args:
        seconds: how long a photo may take.
        memory: how many bytes the worker may take beyond what it has when it is ready.
    """

    def __init__(self, seconds: float = SECONDS, memory: int = MEMORY) -> None:
        self._seconds, self._memory = seconds, memory
        self._lock = Lock()
        self._process: multiprocessing.process.BaseProcess | None = None
        self._connection: Connection | None = None

    def read(self, content: bytes, config) -> tuple[np.ndarray, bytes]:
        """What `search.query.query_photo.read_photo_with_preview` gives: uint8 [S, S, 3], and a small JPEG.

        Raises UnreadablePhoto, also for what took too long or too much memory, or ended the worker; and Busy where no worker
        could be started.
        """
        wanted = SimpleNamespace(name=config.name, inputs=config.inputs)
        with self._lock:
            answer = self._ask(content, wanted)
        if isinstance(answer, str):
            raise UnreadablePhoto(answer)
        return answer

    def warm_up(self) -> None:
        """Starts the worker, so that the first photo need not wait for it; where it can't be, the first photo says so."""
        with suppress(Busy), self._lock:
            self._ensure()

    def close(self) -> None:
        """Ends the worker."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._connection.close()
        self._process = self._connection = None

    def _ask(self, content: bytes, config: SimpleNamespace) -> tuple[np.ndarray, bytes] | str:
        self._ensure()
        try:
            self._connection.send((content, config))
            if self._connection.poll(self._seconds):
                return self._connection.recv()
            said = f"The uploaded photo takes longer than {self._seconds:g} s to decode: try a smaller one."
        except (EOFError, OSError):
            said = "The uploaded photo ended the process that decoded it: try another file."
        self.close()
        return said

    def _ensure(self) -> None:
        if self._process is not None and self._process.is_alive():
            return
        self.close()
        # Not forked: the encoder's threads hold locks that a forked child would wait for without end.
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs, self._memory), name="decode-photos", daemon=True)
        try:
            process.start()
            theirs.close()
            if not ours.poll(START_SECONDS):
                raise TimeoutError("it isn't ready")
            ours.recv()  # _READY, or EOFError where it has ended
        except (OSError, EOFError) as error:
            for end in (ours, theirs):
                end.close()
            if process.pid is not None:
                process.kill()
                process.join()
            raise Busy("No process could be started to decode the photo: try again in a few seconds.") from error
        self._process, self._connection = process, ours


def _work(connection: Connection, memory: int) -> None:
    """Decodes until the other side is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _limit_memory(memory)
    with suppress(EOFError, OSError):
        connection.send(_READY)
        while True:
            connection.send(_decoded(*connection.recv()))


def _decoded(content: bytes, config: SimpleNamespace) -> tuple[np.ndarray, bytes] | str:
    from search.query.query_photo import read_photo_with_preview

    try:
        check(content)
        return read_photo_with_preview(content, config)
    except UnreadablePhoto as error:
        return str(error)
    except MemoryError:
        return "The uploaded photo takes too much memory to decode: scale it down."


def check(content: bytes) -> None:
    """Raises UnreadablePhoto for what is none of the formats that are taken, or has too many pixels; decodes nothing."""
    from PIL import Image

    from encoder.inputs.pixels import GUARD

    kind = upload_format(content[:16])
    if kind is None:
        raise UnreadablePhoto("the uploaded photo is not an image that can be read (JPEG, PNG, WebP, GIF, BMP and TIFF can).")
    try:
        with GUARD, Image.open(BytesIO(content), formats=[kind]) as image:
            pixels = image.width * image.height
    except Image.DecompressionBombError:
        pixels = LARGEST_PIXELS + 1
    except Exception as error:  # a decoder may fail in any way on what a stranger sends
        raise UnreadablePhoto(f"the uploaded photo is damaged ({type(error).__name__}): try another file.") from error
    if pixels > LARGEST_PIXELS:
        raise UnreadablePhoto(
            f"the uploaded photo has more than the {LARGEST_PIXELS // 10**6} million pixels that are read; scale it down."
        )


def _limit_memory(more: int) -> None:
    """Where the system can, allows this process so many bytes beyond what it has."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + more
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
