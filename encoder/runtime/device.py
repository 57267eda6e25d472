"""MindSpore's device, and calls of compiled cells."""

from __future__ import annotations

import contextlib
import ctypes
import signal
from collections.abc import Iterator
from typing import cast

import mindspore as ms
import numpy as np
from mindspore import Tensor

from encoder.devices import device_name
from encoder.errors import UnknownDevice
from encoder.network.entries import Entry
from encoder.runtime.graph_cache import GraphCache
from encoder.runtime.memory import give_back_memory
from encoder.runtime.micro_batching import BatchingWorker

worker = BatchingWorker("encoder")
"""The one thread that runs every graph of every model of this process, since MindSpore needs a single caller.

The key of rows that may share a batch must contain the model's fingerprint.
"""


def use_device(name: str | None = None, number: int | None = None) -> str:
    """Set MindSpore to graph mode on a device.

    Args:
        name: "CPU" or "Ascend" (default: PANOPTES_DEVICE, or CPU).
        number: the card of this process, if there are several; there is one CPU.

    Returns:
        The device's name.

    Raises:
        UnknownDevice: there is no such device, or it doesn't answer.
    """
    name = device_name(name)
    try:
        ms.set_context(mode=ms.GRAPH_MODE)
        ms.set_device(name, None if name == "CPU" else number)
    except (RuntimeError, ValueError) as error:
        if ms.get_context("device_target") == name:  # the process has run a graph on it already
            return name
        raise UnknownDevice(f"The device {name} does not answer; check its driver, or set PANOPTES_DEVICE=CPU.") from error
    return name


class CompiledCell:
    """A cell on numpy arrays, which compiles each new shape through the cache.

    Args:
        fingerprint: of the weights in the cell.
    """

    def __init__(self, cell: Entry, cache: GraphCache, fingerprint: str):
        self._cell, self._cache, self._fingerprint = cell, cache, fingerprint
        self.shapes: set[tuple] = set()
        """The shapes of the arrays of each call that was compiled."""

    def __call__(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        """Run the cell on arrays; gives its outputs as a tuple."""
        shapes = tuple(array.shape for array in arrays)
        if shapes in self.shapes:
            return _run(self._cell, arrays)
        name = [self._fingerprint, type(self._cell).__name__.strip("_")]
        result = self._compile("-".join([*name, *("x".join(map(str, shape)) for shape in shapes)]), arrays)
        self.shapes.add(shapes)
        give_back_memory()
        return result

    def _compile(self, graph: str, arrays: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
        """Run new shapes for the first time. If that fails with the cache and works without it, the cache is given up."""
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
        outputs = cast(tuple[Tensor, ...], result if isinstance(result, tuple) else (result,))
        return tuple(value.asnumpy() for value in outputs)


@contextlib.contextmanager
def kept_interrupts() -> Iterator[None]:
    """Restore the handler of Ctrl-C after a run: MindSpore sets its own at each run, which raises SIGTERM.

    It works in any thread. If somebody else sets SIG_IGN or SIG_DFL meanwhile, that stays.
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
