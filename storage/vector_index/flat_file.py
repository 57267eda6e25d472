"""The file of an exact index, written and recognized without holding its vectors in memory.

The file is what `faiss.write_index` makes of an IndexIDMap2 over an IndexScalarQuantizer (fp16, inner product): a head that
holds the number of vectors twice and the size of their codes, the codes, the number once more, the ids.
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
"""Offsets in the head: of the number of vectors, twice, and, from its end, of the bytes that their codes take."""
DIM = 4
"""The offset of the vectors' width."""


def empty_index(dim: int) -> faiss.IndexIDMap2:
    """Make an exact index for vectors of `dim` numbers."""
    codes = faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    return faiss.IndexIDMap2(codes)


def write_flat(path: Path, dim: int, count: int, vectors: Iterable[np.ndarray], ids: Iterable[np.ndarray]) -> None:
    """Write an index of `count` vectors part by part.

    Args:
        path: The file to write.
        dim: The width of every vector.
        count: The number of all vectors.
        vectors: Parts [c, dim] in any float type.
        ids: Their ids, in parts int64 [c].

    Raises:
        OSError: The file can't be written.
    """
    with open(path, "wb") as file:
        file.write(_head(dim, count))
        for part in vectors:
            file.write(np.ascontiguousarray(part, np.float16).tobytes())
        file.write(count.to_bytes(8, "little"))
        for part in ids:
            file.write(np.ascontiguousarray(part, NUMBER).tobytes())


def is_flat(path: Path) -> bool:
    """True if a file is such an index and has exactly the size that its head demands; False if it can't be read.

    Only such a file may be mapped: FAISS does not check where a mapped file ends.
    """
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
    for offset, number in ((OUTER, count), (INNER, count), (len(head) + SIZE, 2 * dim * count)):
        head[offset : offset + NUMBER.itemsize] = number.to_bytes(8, "little")
    return bytes(head)


@lru_cache(8)
def _empty_head(dim: int) -> bytes:
    """The head as FAISS writes it, up to the codes."""
    return faiss.serialize_index(empty_index(dim)).tobytes()[: -NUMBER.itemsize]
