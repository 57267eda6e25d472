"""Writes PyTorch's zip format without PyTorch, for the tests of the reader."""

from __future__ import annotations

import collections
import io
import pickle
import sys
import types
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

STORAGES = {"float32": "FloatStorage", "float16": "HalfStorage", "int64": "LongStorage"}


def write_torch_file(path: Path, weights: dict[str, np.ndarray]) -> Path:
    """Write a state dict as `torch.save` does."""
    with _FakeTorch() as kinds, zipfile.ZipFile(path, "w") as archive:
        stream = io.BytesIO()
        pickler = _Pickler(stream, kinds)
        pickler.dump({name: _Tensor(str(i), value, kinds) for i, (name, value) in enumerate(weights.items())})
        archive.writestr("archive/data.pkl", stream.getvalue())
        for i, value in enumerate(weights.values()):
            archive.writestr(f"archive/data/{i}", np.ascontiguousarray(value).tobytes())
    return path


class _Storage:
    def __init__(self, kind: type, key: str, size: int):
        self.kind, self.key, self.size = kind, key, size


class _Tensor:
    def __init__(self, key: str, value: np.ndarray, kinds: types.ModuleType):
        self.storage = _Storage(getattr(kinds, STORAGES[value.dtype.name]), key, value.size)
        self.shape, self.kinds = value.shape, kinds
        self.strides = tuple(step // value.itemsize for step in np.ascontiguousarray(value).strides)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.kinds._rebuild_tensor_v2, (self.storage, 0, self.shape, self.strides, False, collections.OrderedDict())


class _Pickler(pickle.Pickler):
    def __init__(self, stream: io.BytesIO, kinds: types.ModuleType):
        super().__init__(stream, protocol=2)
        self.kinds = kinds

    def persistent_id(self, value: object) -> tuple[Any, ...] | None:
        return ("storage", value.kind, value.key, "cpu", value.size) if isinstance(value, _Storage) else None


class _FakeTorch:
    """A fake module `torch`, while a file is written: pickle checks that the names it writes exist."""

    def __enter__(self) -> types.ModuleType:
        torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
        for name in STORAGES.values():
            setattr(torch, name, type(name, (), {"__module__": "torch"}))

        def _rebuild_tensor_v2(*parts: object) -> None:
            raise AssertionError("only written, never called")

        _rebuild_tensor_v2.__module__, _rebuild_tensor_v2.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
        for module in (torch, utils):
            vars(module)["_rebuild_tensor_v2"] = _rebuild_tensor_v2
        vars(torch)["_utils"] = utils
        self.saved = {name: sys.modules.get(name) for name in ("torch", "torch._utils")}
        sys.modules |= {"torch": torch, "torch._utils": utils}
        return torch

    def __exit__(self, *_: object) -> None:
        for name, module in self.saved.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
