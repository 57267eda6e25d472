"""Calls of FAISS that every index makes: threads, files, filters."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import faiss
import numpy as np

from storage.errors import BrokenIndex

QUERIES_WORTH_THREADS = 8
LARGEST_BITMAP = 2**27


@contextmanager
def threads_for(queries: int) -> Iterator[None]:
    """Has FAISS use one core for a few queries: a team of threads for one costs more than the query. The number is this
    thread's own and stays until it is set anew, so that the old one is put back."""
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
    """Write an index to a file. Raises OSError."""
    try:
        faiss.write_index(index, str(path))
    except RuntimeError as error:
        raise OSError(errno.EIO, f"an index file can't be written: {str(error).strip().splitlines()[-1]}") from error


def read_faiss(path: Path, flags: int) -> faiss.IndexIDMap2:
    """Read what `write_faiss` wrote, as one of faiss.IO_FLAG_* says. Raises BrokenIndex."""
    try:
        index = faiss.read_index(str(path), flags)
    except (RuntimeError, MemoryError) as error:
        raise BrokenIndex(path, "missing, or not a FAISS index") from error
    if not isinstance(index, faiss.IndexIDMap2):
        raise BrokenIndex(path, f"holds a {type(index).__name__}")
    return index


def selector_of(allowed_ids: np.ndarray | None, excluded_ids: np.ndarray | None):
    """The FAISS selector of both filters, or None where neither filters anything."""
    if allowed_ids is not None:
        if excluded_ids is not None and len(excluded_ids):
            allowed_ids = np.setdiff1d(allowed_ids, excluded_ids)
        return _members(allowed_ids)
    if excluded_ids is None or len(excluded_ids) == 0:
        return None
    return faiss.IDSelectorNot(_members(excluded_ids))


def _members(ids: np.ndarray):
    """The selector of these ids: a bit an id where the ids lie close together, as those of a collection do."""
    ids = np.ascontiguousarray(ids, dtype=np.int64)
    if len(ids) == 0 or ids.min() < 0 or ids.max() >= LARGEST_BITMAP:
        return faiss.IDSelectorBatch(ids)
    bits = np.zeros(int(ids.max()) + 1, bool)
    bits[ids] = True
    return faiss.IDSelectorBitmap(np.packbits(bits, bitorder="little"))
