"""The file of an inverted file, written without holding its codes in memory.

The file is what `faiss.write_index` makes of an IndexIDMap2 over an inverted file whose lists lie in memory: a head that holds
the number of vectors twice, the lists' sizes, list after list its codes and the positions of its vectors, then the ids.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from storage.vector_index.faiss_calls import untyped_faiss
from storage.vector_index.flat_file import INNER, NUMBER, OUTER

LISTS, FULL, SPARSE = b"ilar", b"full", b"sprs"
Chunks = Iterable[tuple[np.ndarray, np.ndarray]]
"""Ids int64 [c] and vectors float [c, D], chunk by chunk."""


def write_ivf(path: Path, index: faiss.IndexIDMap2, chunks: Callable[[], Chunks]) -> None:
    """Write the file of an inverted file with vectors added, chunk by chunk.

    Args:
        path: The file to write.
        index: The inverted file, trained and empty; it stays empty.
        chunks: Gives the same ids and vectors at each call.

    Raises:
        OSError: The file can't be written.
    """
    inner = untyped_faiss.downcast_index(index.index)
    lists = [inner.quantizer.assign(_floats(vectors), 1).ravel().astype(np.int32) for _, vectors in chunks()]
    sizes = np.bincount(np.concatenate([np.empty(0, np.int32), *lists]), minlength=inner.nlist)
    head = _head(index, sizes)
    starts = len(head) + np.concatenate([[0], np.cumsum(sizes)]) * (inner.code_size + NUMBER.itemsize)
    with open(path, "wb", buffering=0) as file:
        _write(file.fileno(), 0, head)
        _write_lists(file.fileno(), inner, sizes, starts, zip(chunks(), lists, strict=True))
        _write(file.fileno(), starts[-1], NUMBER.type(sizes.sum()).tobytes())
        offset = starts[-1] + NUMBER.itemsize
        for ids, _ in chunks():
            _write(file.fileno(), offset, ids.astype(NUMBER).tobytes())
            offset += NUMBER.itemsize * len(ids)


def _head(index: faiss.IndexIDMap2, sizes: np.ndarray) -> bytes:
    """Everything up to the first list's codes. `sizes` int64 [lists] are the numbers of vectors."""
    head = bytearray(faiss.serialize_index(index).tobytes())
    del head[head.rindex(LISTS) + len(LISTS) + 2 * NUMBER.itemsize :]  # behind how many lists there are, and a code's size
    for offset in (OUTER, INNER):
        head[offset : offset + NUMBER.itemsize] = NUMBER.type(sizes.sum()).tobytes()
    filled = np.flatnonzero(sizes)
    full = len(filled) > len(sizes) // 2
    table = sizes if full else np.stack([filled, sizes[filled]], axis=1).ravel()
    return bytes(head) + (FULL if full else SPARSE) + NUMBER.type(len(table)).tobytes() + table.astype(NUMBER).tobytes()


def _write_lists(
    file: int,
    inner: Any,
    sizes: np.ndarray,
    starts: np.ndarray,
    parts: Iterator[tuple[tuple[np.ndarray, np.ndarray], np.ndarray]],
) -> None:
    """Write each vector's code and position behind what its list has so far.

    Args:
        file: A file descriptor.
        inner: The faiss.IndexIVF that encodes.
        sizes: Int64 [lists], how many vectors each list will have.
        starts: Int64 [lists + 1], the offset of each list in the file.
        parts: A chunk, and the list of each of its vectors, int32 [c].
    """
    filled, before = np.zeros(len(sizes), np.int64), 0
    for (_, vectors), lists in parts:
        order = np.argsort(lists, kind="stable")
        codes, positions = _encoded(inner, vectors, lists)[order], (before + order).astype(NUMBER)
        numbers, edges = np.unique(lists[order], return_index=True)
        for number, start, end in zip(numbers, edges, [*edges[1:], len(lists)], strict=True):
            _write(file, starts[number] + filled[number] * inner.code_size, codes[start:end].tobytes())
            offset = starts[number] + sizes[number] * inner.code_size + filled[number] * NUMBER.itemsize
            _write(file, offset, positions[start:end].tobytes())
            filled[number] += end - start
        before += len(lists)


def _encoded(inner: Any, vectors: np.ndarray, lists: np.ndarray) -> np.ndarray:
    """The codes, uint8 [c, code_size], of vectors [c, D] in these lists [c]."""
    vectors, lists = _floats(vectors), lists.astype(np.int64)
    codes = np.empty((len(vectors), inner.code_size), np.uint8)
    inner.encode_vectors(len(vectors), faiss.swig_ptr(vectors), faiss.swig_ptr(lists), faiss.swig_ptr(codes))
    return codes


def _floats(vectors: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(vectors, np.float32)


def _write(file: int, offset: int, content: bytes) -> None:
    written = 0
    while written < len(content):
        written += os.pwrite(file, content[written:], int(offset) + written)
