"""Nearest vectors by inner product: the interface, and FAISS behind it."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import faiss
import numpy as np

from storage.errors import BrokenIndex, WrongShape
from storage.flat_file import empty_index, is_flat

MISSING = -1
QUERIES_WORTH_THREADS = 8
LARGEST_BITMAP = 2**27


class VectorIndex(Protocol):
    """Vectors under 64-bit ids, searched by inner product. Any number of threads may search at once."""

    @property
    def count(self) -> int:
        """How many vectors a search without a filter looks at."""

    def search(
        self, queries: np.ndarray, k: int, allowed_ids: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k best for each query, best first, equal scores by id.

        queries: float [q, D]; allowed_ids: int64 [a], the only ids that may be found (None: all).
        Returns scores float32 [q, k] and ids int64 [q, k]; where fewer than k were found the id is -1, the score -inf.
        """


class FaissFlatIndex:
    """Exact search over float16 codes, in memory or in a mapped file."""

    def __init__(self, dim: int):
        self._index = empty_index(dim)

    @property
    def dim(self) -> int:
        """D, the width of every vector."""
        return self._index.d

    @property
    def count(self) -> int:
        return self._index.ntotal

    def add(self, ids: np.ndarray, vectors: np.ndarray) -> None:
        """Add float vectors [n, D] under ids [n], which must be new. Raises WrongShape."""
        vectors = self._checked(vectors)
        if len(ids) != len(vectors):
            raise WrongShape(f"{len(ids)} ids for {len(vectors)} vectors")
        self._index.add_with_ids(vectors, np.ascontiguousarray(ids, dtype=np.int64))

    def search(
        self,
        queries: np.ndarray,
        k: int,
        allowed_ids: np.ndarray | None = None,
        excluded_ids: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """As VectorIndex.search; `excluded_ids` int64 [e] are never found, whatever is allowed."""
        queries = self._checked(queries)
        found = min(k, self.count)
        if found <= 0 or len(queries) == 0:
            return padded(np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64), k)
        selector = selector_of(allowed_ids, excluded_ids)
        params = faiss.SearchParameters(sel=selector) if selector is not None else None
        with threads_for(len(queries)):
            scores, ids = self._index.search(queries, found, params=params)
        return padded(*in_order(scores, ids), k)

    def save(self, path: Path) -> None:
        """Write the index to a file. Raises OSError."""
        write_faiss(self._index, path)

    def ids(self) -> np.ndarray:
        """The id of every vector, int64 [n], in the order in which they were added."""
        return faiss.vector_to_array(self._index.id_map)

    def codes(self, places: np.ndarray | None = None) -> np.ndarray:
        """The vectors beside `ids`, float16 [n, D], or those at some `places`, int64 [p]."""
        codes = faiss.downcast_index(self._index.index).codes
        if not codes.size():
            return np.empty((0, self.dim), np.float16)
        held = faiss.rev_swig_ptr(codes.data(), codes.size()).view(np.float16).reshape(-1, self.dim)
        return held.copy() if places is None else held[places]

    @classmethod
    def open(cls, path: Path) -> "FaissFlatIndex":
        """Open what `save` or `write_flat` wrote: codes stay in the file, of which the system holds in memory what it can.
        A file that is removed is still there for who has it open. Raises BrokenIndex."""
        opened = cls.__new__(cls)
        opened._index = read_faiss(path, faiss.IO_FLAG_MMAP_IFC if is_flat(path) else 0)
        return opened

    def _checked(self, vectors: np.ndarray) -> np.ndarray:
        if vectors.ndim != 2 or vectors.shape[1] != self.dim:
            raise WrongShape(f"vectors of shape {vectors.shape} where [n, {self.dim}] is needed")
        return np.ascontiguousarray(vectors, dtype=np.float32)


class LiveIndex:
    """An index without the ids that were deleted since it was built."""

    def __init__(self, index: VectorIndex, excluded_ids: np.ndarray, count: int):
        self._index, self._excluded, self._count = index, excluded_ids, count

    @property
    def count(self) -> int:
        return self._count

    def search(
        self, queries: np.ndarray, k: int, allowed_ids: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """As VectorIndex.search."""
        return self._index.search(queries, k, allowed_ids, self._excluded)


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


def in_order(scores: np.ndarray, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each row by score downwards, equal scores by id upwards, what is missing last with score -inf."""
    scores = np.where(ids == MISSING, np.float32(-np.inf), scores)
    order = np.lexsort((ids, -scores))
    return np.take_along_axis(scores, order, axis=1), np.take_along_axis(ids, order, axis=1)


def padded(scores: np.ndarray, ids: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows widened to k with missing results."""
    width = ((0, 0), (0, max(0, k) - ids.shape[1]))
    return (
        np.pad(scores, width, constant_values=np.float32(-np.inf)),
        np.pad(ids, width, constant_values=MISSING),
    )
