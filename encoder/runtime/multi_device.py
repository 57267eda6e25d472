"""One model on several devices: a process for each, behind the calls of one encoder. Never imports mindspore."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from encoder.api import BulkEncoder, EncoderConfig, ImageEncodings
from encoder.errors import DeviceLost, EncoderError
from encoder.runtime.onnx_graphs import threads


@dataclass(frozen=True, eq=False)
class MultiDeviceTexts:
    """Vectors of n texts, float32 [n, D], of unit length."""

    vectors: np.ndarray


class MultiDeviceEncoder:
    """A `BulkEncoder` of several processes. As many threads may call at once; each call goes to one process.

    Use it in a `with`, or `close` it.

    Args:
        opened: gives the encoder of process 0, 1, ...; it must be importable in a fresh process.
        config, fingerprint, device: of the encoders that `opened` gives.
        devices: the number of processes.

    Raises:
        EncoderError: what opening an encoder raises.
        DeviceLost: a process ended before it answered; calls raise it too.
    """

    def __init__(
        self,
        opened: Callable[[int], BulkEncoder],
        config: EncoderConfig,
        fingerprint: str,
        devices: int,
        device: str = "CPU",
    ):
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
        """Encode images in one of the processes (see `BulkEncoder.encode_images`)."""
        return ImageEncodings(*self._ask(_images, images))

    def encode_texts(self, texts: list[str]) -> MultiDeviceTexts:
        """Encode texts in one of the processes (see `BulkEncoder.encode_texts`)."""
        return MultiDeviceTexts(self._ask(_texts, texts))

    def close(self) -> None:
        """End the processes."""
        for child in self._children:
            child.end()
        self._children = []

    def _ask(self, call: Callable[[BulkEncoder, Any], Any], argument: object) -> Any:
        child = self._idle.get()
        try:
            return child.ask(call, argument)
        finally:
            self._idle.put(child)


def _images(encoder: BulkEncoder, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    encoded = encoder.encode_images(images)
    return encoded.vectors, encoded.tokens


def _texts(encoder: BulkEncoder, texts: list[str]) -> np.ndarray:
    return encoder.encode_texts(texts).vectors


class _Child:
    """A process with an encoder. It answers one call at a time."""

    def __init__(self, opened: Callable[[], BulkEncoder], number: int, devices: int):
        context = multiprocessing.get_context("spawn")  # MindSpore's threads don't outlive a fork
        self._number = number
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, opened, devices), name=f"encoder-{number}", daemon=True)
        self._process.start()
        other.close()

    def ask(self, call: Callable[[BulkEncoder, Any], Any], argument: object) -> Any:
        """Run `call(encoder, argument)` in the process.

        Raises:
            EncoderError: what the call raises.
            DeviceLost: the process ended.
        """
        try:
            self._pipe.send((call, argument))
        except OSError as error:
            raise self._lost() from error
        return self.answer()

    def answer(self) -> Any:
        """Wait for the answer to the last call; the first answer, None, says that the encoder is open.

        Raises:
            EncoderError: what the call, or opening the encoder, raises.
            DeviceLost: the process ended.
        """
        try:
            failed, value = self._pipe.recv()
        except (EOFError, OSError) as error:
            raise self._lost() from error
        if failed:
            raise value
        return value

    def end(self) -> None:
        """End the process, whatever it is doing."""
        self._pipe.close()
        self._process.terminate()
        self._process.join()

    def _lost(self) -> DeviceLost:
        self._process.join(1)
        return DeviceLost(self._number, self._process.exitcode)


def _serve(pipe: Connection, opened: Callable[[], BulkEncoder], devices: int) -> None:
    """Open the encoder and answer calls until the pipe is closed, which also happens when the parent is killed."""
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
