"""The file of an inverted file, written without holding its codes in memory.

The file is what `faiss.write_index` makes of an IndexIDMap2 over an inverted file whose lists lie in memory: a head that holds
the number of vectors twice, the lists' sizes, list after list its codes and the places of its vectors, then the ids.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import faiss
import numpy as np

from storage.vector_index.flat_file import INNER, NUMBER, OUTER

LISTS, FULL, SPARSE = b"ilar", b"full", b"sprs"
Chunks = Iterable[tuple[np.ndarray, np.ndarray]]


def write_ivf(path: Path, index: faiss.IndexIDMap2, chunks: Callable[[], Chunks]) -> None:
    """Write what `index`, which is trained and empty, would be with all vectors added, chunk by chunk. Each call of `chunks`
    gives the same ids int64 [c] and vectors float [c, D]. Raises OSError."""
    inner = faiss.downcast_index(index.index)
    lists = [inner.quantizer.assign(_floats(vectors), 1).ravel().astype(np.int32) for _, vectors in chunks()]
    sizes = np.bincount(np.concatenate([np.empty(0, np.int32), *lists]), minlength=inner.nlist)
    head = _head(index, sizes)
    starts = len(head) + np.concatenate([[0], np.cumsum(sizes)]) * (inner.code_size + NUMBER.itemsize)
    with open(path, "wb", buffering=0) as file:
        _write(file.fileno(), 0, head)
        _write_lists(file.fileno(), inner, sizes, starts, zip(chunks(), lists, strict=True))
        _write(file.fileno(), starts[-1], NUMBER.type(sizes.sum()).tobytes())
        at = starts[-1] + NUMBER.itemsize
        for ids, _ in chunks():
            _write(file.fileno(), at, ids.astype(NUMBER).tobytes())
            at += NUMBER.itemsize * len(ids)


def _head(index: faiss.IndexIDMap2, sizes: np.ndarray) -> bytes:
    """All up to the first list's codes."""
    head = bytearray(faiss.serialize_index(index).tobytes())
    del head[head.rindex(LISTS) + len(LISTS) + 2 * NUMBER.itemsize :]  # behind how many lists there are, and a code's size
    for place in (OUTER, INNER):
        head[place : place + NUMBER.itemsize] = NUMBER.type(sizes.sum()).tobytes()
    filled = np.flatnonzero(sizes)
    full = len(filled) > len(sizes) // 2
    told = sizes if full else np.stack([filled, sizes[filled]], axis=1).ravel()
    return bytes(head) + (FULL if full else SPARSE) + NUMBER.type(len(told)).tobytes() + told.astype(NUMBER).tobytes()


def _write_lists(file: int, inner, sizes: np.ndarray, starts: np.ndarray, parts: Iterator) -> None:
    """Each vector's code and place, at the end of what its list has so far."""
    filled, before = np.zeros(len(sizes), np.int64), 0
    for (_, vectors), lists in parts:
        order = np.argsort(lists, kind="stable")
        codes, places = _encoded(inner, vectors, lists)[order], (before + order).astype(NUMBER)
        numbers, edges = np.unique(lists[order], return_index=True)
        for number, start, end in zip(numbers, edges, [*edges[1:], len(lists)], strict=True):
            _write(file, starts[number] + filled[number] * inner.code_size, codes[start:end].tobytes())
            at = starts[number] + sizes[number] * inner.code_size + filled[number] * NUMBER.itemsize
            _write(file, at, places[start:end].tobytes())
            filled[number] += end - start
        before += len(lists)


def _encoded(inner, vectors: np.ndarray, lists: np.ndarray) -> np.ndarray:
    """Codes uint8 [c, code_size]."""
    vectors, lists = _floats(vectors), lists.astype(np.int64)
    codes = np.empty((len(vectors), inner.code_size), np.uint8)
    inner.encode_vectors(len(vectors), faiss.swig_ptr(vectors), faiss.swig_ptr(lists), faiss.swig_ptr(codes))
    return codes


def _floats(vectors: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(vectors, np.float32)


def _write(file: int, at: int, content: bytes) -> None:
    written = 0
    while written < len(content):
        written += os.pwrite(file, content[written:], int(at) + written)
