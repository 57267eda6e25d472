"""Writes PyTorch's zip format without PyTorch, for the reader's tests."""

from __future__ import annotations

import collections
import io
import pickle
import sys
import types
import zipfile
from pathlib import Path

import numpy as np

STORAGES = {"float32": "FloatStorage", "float16": "HalfStorage", "int64": "LongStorage"}


def write_torch_file(path: Path, weights: dict[str, np.ndarray]) -> Path:
    """A state dict as `torch.save` lays it out."""
    with _fake_torch() as kinds, zipfile.ZipFile(path, "w") as archive:
        stream = io.BytesIO()
        pickler = _Pickler(stream, kinds)
        pickler.dump({name: _Tensor(str(i), value, kinds) for i, (name, value) in enumerate(weights.items())})
        archive.writestr("archive/data.pkl", stream.getvalue())
        for i, value in enumerate(weights.values()):
            archive.writestr(f"archive/data/{i}", np.ascontiguousarray(value).tobytes())
    return path


class _Storage:
    def __init__(self, kind, key: str, size: int):
        self.kind, self.key, self.size = kind, key, size


class _Tensor:
    def __init__(self, key: str, value: np.ndarray, kinds):
        self.storage = _Storage(getattr(kinds, STORAGES[value.dtype.name]), key, value.size)
        self.shape, self.kinds = value.shape, kinds
        self.strides = tuple(step // value.itemsize for step in np.ascontiguousarray(value).strides)

    def __reduce__(self):
        return self.kinds._rebuild_tensor_v2, (self.storage, 0, self.shape, self.strides, False, collections.OrderedDict())


class _Pickler(pickle.Pickler):
    def __init__(self, stream, kinds):
        super().__init__(stream, protocol=2)
        self.kinds = kinds

    def persistent_id(self, value):
        return ("storage", value.kind, value.key, "cpu", value.size) if isinstance(value, _Storage) else None


class _fake_torch:
    """Pickle wants to find the names it writes; they exist only while a file is written."""

    def __enter__(self):
        torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
        for name in STORAGES.values():
            setattr(torch, name, type(name, (), {"__module__": "torch"}))

        def _rebuild_tensor_v2(*parts):
            raise AssertionError("only written, never called")

        _rebuild_tensor_v2.__module__, _rebuild_tensor_v2.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
        utils._rebuild_tensor_v2 = torch._rebuild_tensor_v2 = _rebuild_tensor_v2
        torch._utils = utils
        self.saved = {name: sys.modules.get(name) for name in ("torch", "torch._utils")}
        sys.modules |= {"torch": torch, "torch._utils": utils}
        return torch

    def __exit__(self, *_):
        for name, module in self.saved.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
