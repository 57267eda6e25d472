"""Reads the tensors of a PyTorch checkpoint without PyTorch, and without running code that its pickle names."""

from __future__ import annotations

import collections
import pickle
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np

from encoder.errors import BadCheckpoint

_STORAGE = {"FloatStorage": np.float32, "HalfStorage": np.float16, "LongStorage": np.int64}


def read_torch_file(path: Path) -> dict[str, np.ndarray]:
    """Read the arrays of a state dict in zip format, by name.

    Raises:
        BadCheckpoint: the file has something else than a dict of plain tensors.
    """
    with zipfile.ZipFile(path) as archive:
        pickled = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
        with archive.open(pickled) as stream:
            state = _TensorsOnly(stream, archive, pickled.removesuffix("data.pkl")).load()
    if not isinstance(state, dict) or not all(isinstance(v, np.ndarray) for v in state.values()):
        raise BadCheckpoint(f"{path} is not a plain dictionary of tensors.")
    return state


class _TensorsOnly(pickle.Unpickler):
    def __init__(self, stream: IO[bytes], archive: zipfile.ZipFile, root: str):
        super().__init__(stream)
        self.archive, self.root = archive, root

    def find_class(self, module: str, name: str) -> Any:
        if name == "_rebuild_tensor_v2":
            return _tensor
        if name == "OrderedDict" and module == "collections":
            return collections.OrderedDict
        if module == "torch" and name in _STORAGE:
            return _STORAGE[name]
        raise BadCheckpoint(f"The PyTorch file names {module}.{name}, which is not a tensor.")

    def persistent_load(self, pid: tuple[str, type[np.generic], str, str, int]) -> np.ndarray:
        _, dtype, key, _, _ = pid
        return np.frombuffer(self.archive.read(f"{self.root}data/{key}"), dtype=dtype)


def _tensor(storage: np.ndarray, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: object) -> np.ndarray:
    strides = [step * storage.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(storage[offset:], size, strides).copy()
