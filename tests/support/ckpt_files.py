"""Writes MindSpore's `.ckpt` container from the OPT specification, 3.5, sharing nothing with the reader."""

from __future__ import annotations

from pathlib import Path

import numpy as np

TYPES = {"float32": "Float32", "float16": "Float16", "float64": "Float64", "int32": "Int32", "int64": "Int64", "bool": "Bool"}


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def field(number: int, content: bytes | int) -> bytes:
    """One protobuf field: a number, or bytes with their length."""
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    return varint(number << 3 | 2) + varint(len(content)) + content


def tensor(dims, dtype: str, content: bytes, packed: bool = False) -> bytes:
    shape = field(1, b"".join(map(varint, dims))) if packed else b"".join(field(1, dim) for dim in dims)
    return shape + field(2, dtype.encode()) + field(3, content)


def value(tag: str, *arguments, **options) -> bytes:
    """One Value as it stands in the stream."""
    return field(1, field(1, tag.encode()) + field(2, tensor(*arguments, **options)))


def bfloat16(values: np.ndarray) -> bytes:
    return (np.asarray(values, np.float32).view(np.uint32) >> 16).astype("<u2").tobytes()


def checkpoint_bytes(weights: dict[str, np.ndarray], slice_bytes: int = 1 << 16, scalar_dims=()) -> bytes:
    """A whole `.ckpt`; tensors of more than `slice_bytes` are split, scalars have the dims `scalar_dims`."""
    out = []
    for name, array in weights.items():
        array = np.asarray(array)
        dims = array.shape or scalar_dims
        content = array.tobytes()
        for start in range(0, max(len(content), 1), slice_bytes):
            out.append(value(name, dims, TYPES[array.dtype.name], content[start : start + slice_bytes]))
    return b"".join(out)


def write_checkpoint(path: Path, weights: dict[str, np.ndarray], **options) -> Path:
    path.write_bytes(checkpoint_bytes(weights, **options))
    return path
