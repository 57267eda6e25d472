"""Calls of FAISS that every index makes: threads, files, filters."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from storage.errors import BrokenIndex

untyped_faiss: Any = faiss
"""FAISS without its type stubs, for what these lack: keyword arguments, HNSW parameters, and the fields of the class that
`downcast_index` gives."""

QUERIES_WORTH_THREADS = 8
LARGEST_BITMAP = 2**27


@contextmanager
def threads_for(queries: int) -> Iterator[None]:
    """Let FAISS use one core for a few queries: a team of threads costs more than such a search.

    The number of threads belongs to the calling thread and stays until it is set again, so the old number is restored.

    Args:
        queries: How many queries the search has.
    """
    if queries >= QUERIES_WORTH_THREADS:
        yield
        return
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def write_faiss(index: faiss.IndexIDMap2, path: Path) -> None:
    """Write an index to a file.

    Raises:
        OSError: The file can't be written.
    """
    try:
        faiss.write_index(index, str(path))
    except RuntimeError as error:
        raise OSError(errno.EIO, f"an index file can't be written: {str(error).strip().splitlines()[-1]}") from error


def read_faiss(path: Path, flags: int) -> faiss.IndexIDMap2:
    """Read what `write_faiss` wrote.

    Args:
        path: The index file.
        flags: One of `faiss.IO_FLAG_*`, or 0.

    Raises:
        BrokenIndex: The file is missing, or holds something else.
    """
    try:
        index = faiss.read_index(str(path), flags)
    except (RuntimeError, MemoryError) as error:
        raise BrokenIndex(path, "missing, or not a FAISS index") from error
    if not isinstance(index, faiss.IndexIDMap2):
        raise BrokenIndex(path, f"holds a {type(index).__name__}")
    return index


def selector_of(allowed_ids: np.ndarray | None, excluded_ids: np.ndarray | None) -> faiss.IDSelector | None:
    """The FAISS selector for both filters, int64 [a] and [e]; None if neither filters anything."""
    if allowed_ids is not None:
        if excluded_ids is not None and len(excluded_ids):
            allowed_ids = np.setdiff1d(allowed_ids, excluded_ids)
        return _selector_of_members(allowed_ids)
    if excluded_ids is None or len(excluded_ids) == 0:
        return None
    return faiss.IDSelectorNot(_selector_of_members(excluded_ids))


def _selector_of_members(ids: np.ndarray) -> faiss.IDSelector:
    """The selector for these ids: one bit an id if the ids lie close together, as those of a collection do."""
    ids = np.ascontiguousarray(ids, dtype=np.int64)
    if len(ids) == 0 or ids.min() < 0 or ids.max() >= LARGEST_BITMAP:
        return faiss.IDSelectorBatch(ids)
    bits = np.zeros(int(ids.max()) + 1, bool)
    bits[ids] = True
    return untyped_faiss.IDSelectorBitmap(np.packbits(bits, bitorder="little"))
