"""Writing a `.safetensors` file tensor by tensor, so that a large model is never in memory as a whole."""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np

TYPES = {"float16": "F16", "float32": "F32"}
ALIGNMENT = 8


def write_weights(
    path: Path, shapes: dict[str, tuple[int, ...]], dtypes: dict[str, str], read: Callable[[str], np.ndarray]
) -> None:
    """Write tensors one at a time, and wait until they are on the disk.

    Args:
        shapes: the shape of every tensor.
        dtypes: "float16" or "float32" of every tensor.
        read: gives the tensor of a name, in its shape and dtype.
    """
    header, offset = {}, 0
    for name in sorted(shapes, key=lambda name: (dtypes[name] != "float32", name)):  # the wider first: all stay aligned
        size = math.prod(shapes[name]) * np.dtype(dtypes[name]).itemsize
        header[name] = {"dtype": TYPES[dtypes[name]], "shape": list(shapes[name]), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    with path.open("wb") as stream:
        stream.write(struct.pack("<Q", len(text)) + text)
        for name in header:
            stream.write(np.ascontiguousarray(read(name), dtypes[name]).data)
        stream.flush()
        os.fsync(stream.fileno())
