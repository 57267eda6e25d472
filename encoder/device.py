"""Which device MindSpore runs on, and its compile cache."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import Tensor

from encoder.entries import Entry
from encoder.errors import UnknownDevice
from encoder.joining import SharedWorker
from encoder.memory import give_back_memory

DEVICES = ("CPU", "Ascend")

worker = SharedWorker("encoder")
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


class GraphCache:
    """MindSpore's compile cache, made safe.

    MindSpore names a kept graph by its place in the order in which a process compiled graphs, hands it to whatever comes
    at that place in the next process, and keeps to the first folder it was given. So the folder is chosen by the first
    graph, each place in it is claimed by one graph for good, and the first graph that finds its place taken by another
    ends the use of the cache in this process.
    """

    def __init__(self, root: Path):
        self._root, self._folder, self._compiled, self._ended = root, None, 0, False

    def before_compiling(self, graph: str) -> None:
        """To be called before each new graph is compiled; `graph` names its cell and shapes."""
        if self._ended:
            return
        try:
            if self._folder is None:
                self._open(graph)
            self._ended = not self._claim(graph)
        except OSError:
            self._ended = True  # no folder to write to: compile every time
        if self._ended:
            self.end()
        self._compiled += 1

    @contextlib.contextmanager
    def alone(self):
        """Keep the other processes that use this cache from compiling, for what one writes another must not read by half."""
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(OSError):  # no folder to write to, or none that locks
                self._root.mkdir(parents=True, exist_ok=True)
                lock = stack.enter_context(open(self._root / "lock", "w"))
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def end(self) -> None:
        """Compile without the cache from now on."""
        self._ended = True
        ms.set_context(enable_compile_cache=False)

    def _open(self, graph: str) -> None:
        folder = self._root / graph
        folder.mkdir(parents=True, exist_ok=True)
        ms.set_context(enable_compile_cache=True, compile_cache_path=str(folder))
        self._folder = folder

    def _claim(self, graph: str) -> bool:
        place = self._folder / f"place-{self._compiled}"
        try:
            with place.open("x") as stream:
                stream.write(graph)
        except FileExistsError:
            pass
        return place.read_text() == graph


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
            return self._run(arrays)
        name = [self._fingerprint, type(self._cell).__name__.strip("_")]
        with self._cache.alone():
            self._cache.before_compiling("-".join([*name, *("x".join(map(str, shape)) for shape in shapes)]))
            self.shapes.add(shapes)
            result = self._run(arrays)
        give_back_memory()
        return result

    def _run(self, arrays: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
        result = self._cell(*(Tensor.from_numpy(np.ascontiguousarray(array)) for array in arrays))
        return tuple(value.asnumpy() for value in (result if isinstance(result, tuple) else (result,)))


_process_cache: list[GraphCache] = []


def process_cache(device: str) -> GraphCache:
    """The compile cache of this process: one for all its models, since MindSpore counts its graphs by process."""
    if not _process_cache:
        _process_cache.append(GraphCache(graph_folder(device)))
    return _process_cache[0]


def graph_folder(device: str) -> Path:
    """Where compiled graphs of this version are kept: under PANOPTES_CACHE, or ~/.cache/panoptes."""
    root = Path(os.environ.get("PANOPTES_CACHE") or Path.home() / ".cache" / "panoptes")
    code = hashlib.sha256(ms.__version__.encode())
    for source in sorted(Path(__file__).parent.glob("*.py")):
        code.update(source.read_bytes())
    return root / f"{device}-{code.hexdigest()[:12]}"
