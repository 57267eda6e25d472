"""Read the tensors of a PyTorch checkpoint without PyTorch and without running what its pickle names."""

from __future__ import annotations

import collections
import pickle
import zipfile
from pathlib import Path

import numpy as np

from encoder.errors import BadCheckpoint

_STORAGE = {"FloatStorage": np.float32, "HalfStorage": np.float16, "LongStorage": np.int64}


def read_torch_file(path: Path) -> dict[str, np.ndarray]:
    """Name -> array of a zip-format state dict; raises BadCheckpoint for anything but plain tensors in a dict."""
    with zipfile.ZipFile(path) as archive:
        pickled = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
        with archive.open(pickled) as stream:
            state = _TensorsOnly(stream, archive, pickled.removesuffix("data.pkl")).load()
    if not isinstance(state, dict) or not all(isinstance(v, np.ndarray) for v in state.values()):
        raise BadCheckpoint(f"{path} is not a plain dictionary of tensors.")
    return state


class _TensorsOnly(pickle.Unpickler):
    def __init__(self, stream, archive: zipfile.ZipFile, root: str):
        super().__init__(stream)
        self.archive, self.root = archive, root

    def find_class(self, module: str, name: str):
        if name == "_rebuild_tensor_v2":
            return _tensor
        if name == "OrderedDict" and module == "collections":
            return collections.OrderedDict
        if module == "torch" and name in _STORAGE:
            return _STORAGE[name]
        raise BadCheckpoint(f"The PyTorch file names {module}.{name}, which is not a tensor.")

    def persistent_load(self, pid):
        _, dtype, key, _, _ = pid
        return np.frombuffer(self.archive.read(f"{self.root}data/{key}"), dtype=dtype)


def _tensor(storage: np.ndarray, offset: int, size, stride, *_):
    strides = [step * storage.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(storage[offset:], size, strides).copy()
