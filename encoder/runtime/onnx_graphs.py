"""Runs the entries of a model with ONNX Runtime on CPU. Never imports mindspore."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from encoder.config import AnyConfig, ModelConfig
from encoder.errors import BadGraphs, BadThreads, NoOnnxRuntime, UnknownPrecision
from encoder.model_folder import read_weights
from encoder.runtime.graph_files import read_graphs
from encoder.runtime.int8 import Int8Graph, Product, constants, has_wide_dot_products, read_int8_graphs
from encoder.runtime.memory import give_back_memory
from encoder.runtime.micro_batching import BatchingWorker

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

FLOAT32, INT8 = "float32", "int8"
OLDEST = (1, 21)
"""The first ONNX Runtime with right numbers: 1.20 opens the graphs, but leaves out the bias of an attention."""

MOST_WORKERS = 4
IMAGES = "images"


@cache
def workers(count: int) -> tuple[BatchingWorker, BatchingWorker]:
    """The threads that run the graphs of all models: several for texts and pairs, one for images.

    Two threads with half a batch each are faster than one whose graph is spread over two processors. Images go through one
    thread, so that a single one is quick.

    Args:
        count: the number of processors.
    """
    return BatchingWorker("texts", min(count, MOST_WORKERS)), BatchingWorker(IMAGES)


def threads() -> int:
    """The number of processors that graphs run on: PANOPTES_THREADS, or those that this process may use.

    Raises:
        BadThreads: PANOPTES_THREADS is not a number of processors.
    """
    named = os.environ.get("PANOPTES_THREADS")
    if not named:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not (named.isascii() and named.isdigit() and int(named)):
        raise BadThreads(f"PANOPTES_THREADS is {named!r}; set it to a number of processors, or unset it for all.")
    return int(named)


class OnnxGraphs:
    """The exported graphs of a model folder. Each is opened when it is first run, with the weights that it reads.

    With PANOPTES_PRECISION=int8 the products of images, texts and match are in 8 bits (see `encoder/runtime/int8.py`), those
    of captioners are not.

    Raises:
        NoOnnxRuntime: ONNX Runtime is not installed, or is too old.
        BadThreads, UnknownPrecision: PANOPTES_THREADS or PANOPTES_PRECISION has a value that it can't have.
        BadGraphs, NoInt8Graphs, BadCheckpoint: the model's files don't fit.
    """

    device = "CPU"
    padded = False
    image_batches, text_batches = (2,), (32,)

    def __init__(self, folder: Path, config: AnyConfig, fingerprint: str):
        check_onnxruntime()
        self.worker, self.image_worker = workers(threads())
        self._folder = folder
        self._files = read_graphs(folder, config)
        self._signed = has_wide_dot_products()
        self._int8: dict[str, Int8Graph] = {}
        self._steps: dict[str, np.ndarray] = {}
        if precision() == INT8 and isinstance(config, ModelConfig):
            self._int8, self._steps = read_int8_graphs(folder, fingerprint, self._signed)
        self._sessions: dict[str, InferenceSession] = {}
        self._lock = Lock()

    def run(self, entry: str, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        """Run an entry (see encoder/network/entries.py) on arrays of any batch and length."""
        session = self._sessions.get(entry) or self._opened(entry)
        names = (given.name for given in session.get_inputs())
        results = session.run(None, dict(zip(names, arrays, strict=True)))
        return tuple(cast(list[np.ndarray], results))  # no entry gives a sequence or a sparse tensor

    def _opened(self, entry: str) -> InferenceSession:
        with self._lock:
            if entry not in self._sessions:
                self._sessions[entry] = self._open(entry)
            return self._sessions[entry]

    def _open(self, entry: str) -> InferenceSession:
        graph = self._int8.get(entry)
        path = graph.path if graph else self._files.paths[entry]
        weights = read_weights(self._folder, graph.weights if graph else self._files.weights[entry])
        for product in graph.products if graph else ():
            weights |= self._constants(product)
        try:
            session = open_session(str(path), weights, spread=entry == IMAGES)
        except Exception as error:  # onnxruntime's errors have no common base
            raise BadGraphs(self._folder, f"ONNX Runtime can't open {path.name} ({_first_line(error)})") from error
        give_back_memory()
        return session

    def _constants(self, product: Product) -> dict[str, np.ndarray]:
        stored = read_weights(self._folder, [name for name in (product.weight, product.bias) if name])
        weight = stored[product.weight].astype(np.float32)
        bias = stored[product.bias] if product.bias else None
        return constants(product, weight, bias, self._steps[product.weight], self._signed)


def precision() -> str:
    """The precision of products: PANOPTES_PRECISION (default: float32).

    Raises:
        UnknownPrecision: there is no such precision.
    """
    named = os.environ.get("PANOPTES_PRECISION") or FLOAT32
    if named not in (FLOAT32, INT8):
        raise UnknownPrecision(f"PANOPTES_PRECISION is {named!r}; set it to {FLOAT32} or {INT8}.")
    return named


def open_session(model: str | bytes, weights: dict[str, np.ndarray], spread: bool = False) -> InferenceSession:
    """Open a session of a graph.

    Args:
        model: the path of the graph, or its bytes.
        weights: the values of the initializers that the graph does not hold; floats become float32. The dictionary is emptied,
            and the values need not outlive this call: ONNX Runtime copies them.
        spread: run over all processors, which wait actively while it runs; else leave room for other threads.
    """
    import onnxruntime

    names, values = list(weights), []
    for name in names:  # no weight is to be in memory twice
        value = weights.pop(name)
        values.append(np.ascontiguousarray(value, np.float32 if value.dtype.kind == "f" else value.dtype))
    options = session_options(spread)
    options.add_external_initializers(names, [onnxruntime.OrtValue.ortvalue_from_numpy(one) for one in values])
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def session_options(spread: bool) -> Any:
    """The `onnxruntime.SessionOptions` of a session; docs/benchmarks.md says what other settings cost."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads() if spread else max(1, threads() // MOST_WORKERS)
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = False
    options.add_session_config_entry("session.use_device_allocator_for_initializers", "1")
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spread else "0")
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return options


def check_onnxruntime() -> None:
    """Check that ONNX Runtime is installed and reads the graphs.

    Raises:
        NoOnnxRuntime: it is not installed, or is too old.
    """
    try:
        from onnxruntime import __version__ as found
    except ImportError as error:
        raise NoOnnxRuntime("ONNX Runtime is not installed") from error
    if tuple(int(part) for part in found.split(".")[:2]) < OLDEST:
        raise NoOnnxRuntime(f"ONNX Runtime {found} is too old: {'.'.join(map(str, OLDEST))} or later is needed")


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
