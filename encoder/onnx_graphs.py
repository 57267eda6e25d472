"""The entries of a model run by ONNX Runtime on the processor. Never imports mindspore."""

from __future__ import annotations

import os
from pathlib import Path
from threading import Lock

import numpy as np

from encoder.checkpoint import read_weights
from encoder.config import OptConfig
from encoder.errors import BadGraphs, NoOnnxRuntime
from encoder.graph_files import read_graphs
from encoder.joining import SharedWorker
from encoder.joint_config import JointConfig
from encoder.memory import give_back_memory

OLDEST = (1, 20)
"""The first ONNX Runtime that has all operators of the graphs."""

workers = SharedWorker("encoder", threads=2)
"""Runs the graphs of every model of this process: two at a time, since one alone doesn't keep two cores busy."""


def threads() -> int:
    """How many processors a graph is spread over: those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class OnnxGraphs:
    """The exported graphs of a model folder. Each is opened when it is first run, with the weights that it reads.

    Raises what `graph_files.read_graphs` raises, and NoOnnxRuntime.
    """

    device = "CPU"
    padded = False
    worker = workers
    image_batches, text_batches = (2,), (32,)

    def __init__(self, folder: Path, config: OptConfig | JointConfig):
        check_onnxruntime()
        self._folder = folder
        self._files = read_graphs(folder, config)
        self._sessions: dict[str, object] = {}
        self._lock = Lock()

    def run(self, entry: str, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        """Run an entry (see encoder/entries.py) on arrays of any batch and length."""
        session = self._sessions.get(entry) or self._opened(entry)
        names = (given.name for given in session.get_inputs())
        return tuple(session.run(None, dict(zip(names, arrays, strict=True))))

    def _opened(self, entry: str):
        with self._lock:
            if entry not in self._sessions:
                self._sessions[entry] = self._open(entry)
            return self._sessions[entry]

    def _open(self, entry: str):
        import onnxruntime

        names = self._files.weights[entry]
        stored = read_weights(self._folder, names)
        weights = [np.ascontiguousarray(stored.pop(name), np.float32) for name in names]  # to live until they are copied
        options = session_options()
        options.add_external_initializers(names, [onnxruntime.OrtValue.ortvalue_from_numpy(one) for one in weights])
        try:
            session = onnxruntime.InferenceSession(self._files.paths[entry], options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's errors have no common base
            raise BadGraphs(self._folder, f"ONNX Runtime can't open {entry}.onnx ({_first_line(error)})") from error
        del weights, options
        give_back_memory()
        return session


def session_options():
    """The settings of every session; docs/benchmarks.md has what others cost."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads()
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = False
    options.add_session_config_entry("session.use_device_allocator_for_initializers", "1")
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def check_onnxruntime() -> None:
    """Raise NoOnnxRuntime where ONNX Runtime isn't installed, or is too old for the graphs."""
    try:
        from onnxruntime import __version__ as found
    except ImportError as error:
        raise NoOnnxRuntime("ONNX Runtime is not installed") from error
    if tuple(int(part) for part in found.split(".")[:2]) < OLDEST:
        raise NoOnnxRuntime(f"ONNX Runtime {found} is too old: {'.'.join(map(str, OLDEST))} or later is needed")


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
