"""Which device MindSpore runs on, and how it is called."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from collections.abc import Iterator

import mindspore as ms
import numpy as np
from mindspore import Tensor

from encoder.errors import UnknownDevice
from encoder.network.entries import Entry
from encoder.runtime.graph_cache import GraphCache
from encoder.runtime.memory import give_back_memory
from encoder.runtime.micro_batching import BatchingWorker

DEVICES = ("CPU", "Ascend")

worker = BatchingWorker("encoder")
"""The thread that runs every graph of every model of this process, so that MindSpore sees one caller. A model's fingerprint
belongs into the key of rows that may share a batch."""


def use_device(name: str | None = None, number: int | None = None) -> str:
    """Graph mode on `name`, or on PANOPTES_DEVICE, or on CPU; gives the device's name. Raises UnknownDevice.

    `number` is the card of this process where there are several; there is one CPU.
    """
    name = name or os.environ.get("PANOPTES_DEVICE") or "CPU"
    if name not in DEVICES:
        raise UnknownDevice(f"PANOPTES_DEVICE is {name!r}; set it to CPU or Ascend.")
    try:
        ms.set_context(mode=ms.GRAPH_MODE)
        ms.set_device(name, None if name == "CPU" else number)
    except (RuntimeError, ValueError) as error:
        if ms.get_context("device_target") == name:  # the process has run a graph on it already
            return name
        raise UnknownDevice(f"The device {name} does not answer; check its driver, or set PANOPTES_DEVICE=CPU.") from error
    return name


class CompiledCell:
    """A cell that takes and gives numpy arrays and compiles each new shape through the cache.

    `fingerprint` is that of the weights in it.
    """

    def __init__(self, cell: Entry, cache: GraphCache, fingerprint: str):
        self._cell, self._cache, self._fingerprint = cell, cache, fingerprint
        self.shapes: set[tuple] = set()
        """What was compiled: the shapes of the arrays of a call."""

    def __call__(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        """Run the cell; gives its outputs as a tuple."""
        shapes = tuple(array.shape for array in arrays)
        if shapes in self.shapes:
            return _run(self._cell, arrays)
        name = [self._fingerprint, type(self._cell).__name__.strip("_")]
        result = self._compile("-".join([*name, *("x".join(map(str, shape)) for shape in shapes)]), arrays)
        self.shapes.add(shapes)
        give_back_memory()
        return result

    def _compile(self, graph: str, arrays: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
        """The first run of new shapes. What fails with the cache and works without is the cache's fault, and ends its use."""
        cached = self._cache.in_use
        try:
            with self._cache.holding(graph):
                return _run(self._cell, arrays)
        except Exception as error:
            if not cached:
                raise
            problem = error
        anew = type(self._cell)(self._cell.model).set_train(False)
        with self._cache.without():
            result = _run(anew, arrays)
        self._cache.give_up(problem)
        self._cell = anew
        self.shapes.clear()
        return result


def _run(cell: Entry, arrays: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    with kept_interrupts():
        result = cell(*(Tensor.from_numpy(np.ascontiguousarray(array)) for array in arrays))
        return tuple(value.asnumpy() for value in (result if isinstance(result, tuple) else (result,)))


@contextlib.contextmanager
def kept_interrupts() -> Iterator[None]:
    """Put back what Ctrl-C does: MindSpore has a handler of its own, which raises SIGTERM, and sets it at each run.

    In any thread; what somebody else sets to SIG_IGN or SIG_DFL meanwhile stays.
    """
    before = _handler_of(signal.SIGINT)
    try:
        yield
    finally:
        if _handler_of(signal.SIGINT) not in (before, None, int(signal.SIG_IGN)):
            _set_handler(signal.SIGINT, before)


_handler_of = ctypes.pythonapi.PyOS_getsig
_handler_of.argtypes, _handler_of.restype = [ctypes.c_int], ctypes.c_void_p
_set_handler = ctypes.pythonapi.PyOS_setsig
_set_handler.argtypes, _set_handler.restype = [ctypes.c_int, ctypes.c_void_p], ctypes.c_void_p
