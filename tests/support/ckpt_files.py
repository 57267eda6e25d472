"""Writes MindSpore's `.ckpt` format (OPT specification, 3.5). Shares no code with the reader."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

TYPES = {"float32": "Float32", "float16": "Float16", "float64": "Float64", "int32": "Int32", "int64": "Int64", "bool": "Bool"}


def varint(value: int) -> bytes:
    """Encode a number as a protobuf varint."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def field(number: int, content: bytes | int) -> bytes:
    """Encode a protobuf field: a number, or bytes with their length."""
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    return varint(number << 3 | 2) + varint(len(content)) + content


def tensor(dims: Sequence[int], dtype: str, content: bytes, packed: bool = False) -> bytes:
    """Encode a TensorProto; `packed` writes its dims as one field."""
    shape = field(1, b"".join(map(varint, dims))) if packed else b"".join(field(1, dim) for dim in dims)
    return shape + field(2, dtype.encode()) + field(3, content)


def value(tag: str, *arguments: Any, **options: Any) -> bytes:
    """Encode a Value of the checkpoint. `arguments` and `options`: see `tensor`."""
    return field(1, field(1, tag.encode()) + field(2, tensor(*arguments, **options)))


def bfloat16(values: np.ndarray) -> bytes:
    """Encode numbers as bfloat16, rounded towards zero."""
    return (np.asarray(values, np.float32).view(np.uint32) >> 16).astype("<u2").tobytes()


def checkpoint_bytes(weights: dict[str, np.ndarray], slice_bytes: int = 1 << 16, scalar_dims: Sequence[int] = ()) -> bytes:
    """Encode a whole `.ckpt`. Tensors of more than `slice_bytes` are split; scalars have the dims `scalar_dims`."""
    out = []
    for name, array in weights.items():
        array = np.asarray(array)
        dims = array.shape or scalar_dims
        content = array.tobytes()
        for start in range(0, max(len(content), 1), slice_bytes):
            out.append(value(name, dims, TYPES[array.dtype.name], content[start : start + slice_bytes]))
    return b"".join(out)


def write_checkpoint(path: Path, weights: dict[str, np.ndarray], **options: Any) -> Path:
    """Write a `.ckpt`. `options`: see `checkpoint_bytes`."""
    path.write_bytes(checkpoint_bytes(weights, **options))
    return path
