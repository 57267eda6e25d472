"""The file of an exact index, written and told without holding its vectors in memory.

The file is what `faiss.write_index` makes of an IndexIDMap2 over an IndexScalarQuantizer (fp16, inner product): a head that
holds the number of vectors three times, the codes, the number once more, the ids.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import faiss
import numpy as np

NUMBER = np.dtype("<i8")
OUTER, INNER, SIZE = 8, 45, -8
"""Where the head says how many vectors there are, twice, and how many bytes their codes take."""
DIM = 4


def empty_index(dim: int) -> faiss.IndexIDMap2:
    """An exact index of vectors of `dim` numbers."""
    codes = faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    return faiss.IndexIDMap2(codes)


def write_flat(path: Path, dim: int, count: int, vectors: Iterable[np.ndarray], ids: Iterable[np.ndarray]) -> None:
    """Write an index of `count` vectors: parts float [c, dim] in any float type, and their ids, parts int64 [c]. Raises
    OSError."""
    with open(path, "wb") as file:
        file.write(_head(dim, count))
        for part in vectors:
            file.write(np.ascontiguousarray(part, np.float16).tobytes())
        file.write(count.to_bytes(8, "little"))
        for part in ids:
            file.write(np.ascontiguousarray(part, NUMBER).tobytes())


def is_flat(path: Path) -> bool:
    """Whether a file is such an index, whole to the last byte's place: only then may it be mapped, for FAISS does not look
    where a mapped file ends. False where it can't be read."""
    try:
        with open(path, "rb") as file:
            start = file.read(OUTER + NUMBER.itemsize)
            if len(start) < OUTER + NUMBER.itemsize:
                return False
            dim, count = int.from_bytes(start[DIM:OUTER], "little"), int.from_bytes(start[OUTER:], "little")
            if not 0 < dim < 2**20 or count >= 2**48:
                return False
            head, codes = _head(dim, count), 2 * dim * count
            whole = len(head) + codes + NUMBER.itemsize * (1 + count) == os.fstat(file.fileno()).st_size
            if not whole or start + file.read(len(head) - len(start)) != head:
                return False
            file.seek(codes, os.SEEK_CUR)
            return file.read(NUMBER.itemsize) == count.to_bytes(8, "little")
    except OSError:
        return False


def _head(dim: int, count: int) -> bytes:
    head = bytearray(_empty_head(dim))
    for place, number in ((OUTER, count), (INNER, count), (len(head) + SIZE, 2 * dim * count)):
        head[place : place + NUMBER.itemsize] = number.to_bytes(8, "little")
    return bytes(head)


@lru_cache(8)
def _empty_head(dim: int) -> bytes:
    """As FAISS writes it, up to the codes."""
    return faiss.serialize_index(empty_index(dim)).tobytes()[: -NUMBER.itemsize]
