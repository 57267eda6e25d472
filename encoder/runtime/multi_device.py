"""One model on several devices: as many processes, each with the model open, behind an encoder's calls. Never imports
mindspore."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection

import numpy as np

from encoder.api import ImageEncodings
from encoder.errors import DeviceLost, EncoderError
from encoder.runtime.onnx_graphs import threads


@dataclass(frozen=True, eq=False)
class MultiDeviceTexts:
    """vectors float32 [n, D] of unit length."""

    vectors: np.ndarray


class MultiDeviceEncoder:
    """`encode_images` and `encode_texts` of `devices` processes; as many threads may call at once, each call goes to one.

    `opened(number)` gives the encoder of process 0, 1, ...; it must be importable in a fresh process. `config`, `fingerprint`
    and `device` are those of what it opens. Use it in a `with`, or `close` it.

    Raises what opening raises, and DeviceLost where a process ends before it has answered.
    """

    query_bank = None

    def __init__(self, opened: Callable[[int], object], config, fingerprint: str, devices: int, device: str = "CPU"):
        self.config, self.fingerprint, self.device, self.devices = config, fingerprint, device, devices
        self._idle: queue.SimpleQueue[_Child] = queue.SimpleQueue()
        self._children: list[_Child] = []
        try:
            for number in range(devices):
                self._children.append(_Child(partial(opened, number), number, devices))
            for child in self._children:
                child.answer()
                self._idle.put(child)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> MultiDeviceEncoder:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def encode_images(self, images: np.ndarray) -> ImageEncodings:
        """As an encoder's, by one of the processes."""
        return ImageEncodings(*self._ask(_images, images))

    def encode_texts(self, texts: list[str]) -> MultiDeviceTexts:
        """As an encoder's, by one of the processes, but for the states."""
        return MultiDeviceTexts(self._ask(_texts, texts))

    def close(self) -> None:
        """End the processes; once is enough."""
        for child in self._children:
            child.end()
        self._children = []

    def _ask(self, call: Callable, argument):
        child = self._idle.get()
        try:
            return child.ask(call, argument)
        finally:
            self._idle.put(child)


def _images(encoder, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    encoded = encoder.encode_images(images)
    return encoded.vectors, encoded.tokens


def _texts(encoder, texts: list[str]) -> np.ndarray:
    return encoder.encode_texts(texts).vectors


class _Child:
    """A process with an encoder, which answers one call at a time."""

    def __init__(self, opened: Callable[[], object], number: int, devices: int):
        context = multiprocessing.get_context("spawn")  # MindSpore's threads don't outlive a fork
        self._number = number
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, opened, devices), name=f"encoder-{number}", daemon=True)
        self._process.start()
        other.close()

    def ask(self, call: Callable, argument):
        """What `call(encoder, argument)` gives there. Raises its error, or DeviceLost."""
        try:
            self._pipe.send((call, argument))
        except OSError as error:
            raise self._lost() from error
        return self.answer()

    def answer(self):
        """What the process says to the last call, or at first when it has opened the encoder. Raises its error."""
        try:
            failed, value = self._pipe.recv()
        except (EOFError, OSError) as error:
            raise self._lost() from error
        if failed:
            raise value
        return value

    def end(self) -> None:
        """End it, whatever it is doing."""
        self._pipe.close()
        self._process.terminate()
        self._process.join()

    def _lost(self) -> DeviceLost:
        self._process.join(1)
        return DeviceLost(self._number, self._process.exitcode)


def _serve(pipe: Connection, opened: Callable[[], object], devices: int) -> None:
    """Open the encoder and answer until nobody asks any more, which is also so where the parent was killed."""
    if not os.environ.get("PANOPTES_THREADS"):
        os.environ["PANOPTES_THREADS"] = str(max(1, threads() // devices))  # on CPU they share the processors
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's
    try:
        encoder = opened()
        answer = False, None
        while True:
            pipe.send(answer)
            call, argument = pipe.recv()
            answer = False, call(encoder, argument)
    except EncoderError as error:
        pipe.send((True, error))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass
