"""Exact search: a FAISS index of float16 codes."""

from __future__ import annotations

from pathlib import Path

import faiss
import numpy as np

from storage.errors import WrongShape
from storage.vector_index.base import in_order, padded
from storage.vector_index.faiss_calls import read_faiss, selector_of, threads_for, untyped_faiss, write_faiss
from storage.vector_index.flat_file import empty_index, is_flat


class FaissFlatIndex:
    """Exact search over float16 codes, in memory or in a mapped file."""

    def __init__(self, dim: int):
        """Make an empty index in memory for vectors of width `dim`."""
        self._index = empty_index(dim)

    @property
    def dim(self) -> int:
        """D, the width of every vector."""
        return self._index.d

    @property
    def count(self) -> int:
        """The number of vectors."""
        return self._index.ntotal

    def add(self, ids: np.ndarray, vectors: np.ndarray) -> None:
        """Add float vectors [n, D] under ids [n], which must be new.

        Raises:
            WrongShape: The arrays don't fit the index or each other.
        """
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
        """Search as `VectorIndex.search` does.

        Raises:
            WrongShape: The queries are of another width.
        """
        queries = self._checked(queries)
        limit = min(k, self.count)
        if limit <= 0 or len(queries) == 0:
            return padded(np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64), k)
        selector = selector_of(allowed_ids, excluded_ids)
        params = untyped_faiss.SearchParameters(sel=selector) if selector is not None else None
        with threads_for(len(queries)):
            scores, ids = self._index.search(queries, limit, params=params)
        return padded(*in_order(scores, ids), k)

    def save(self, path: Path) -> None:
        """Write the index to a file.

        Raises:
            OSError: The file can't be written.
        """
        write_faiss(self._index, path)

    def ids(self) -> np.ndarray:
        """The id of every vector, int64 [n], in the order in which they were added."""
        return faiss.vector_to_array(self._index.id_map)

    def codes(self, positions: np.ndarray | None = None) -> np.ndarray:
        """The vectors beside `ids`, float16 [n, D], or those at some positions, int64 [p]."""
        codes = untyped_faiss.downcast_index(self._index.index).codes
        if not codes.size():
            return np.empty((0, self.dim), np.float16)
        held = faiss.rev_swig_ptr(codes.data(), codes.size()).view(np.float16).reshape(-1, self.dim)
        return held.copy() if positions is None else held[positions]

    @classmethod
    def open(cls, path: Path) -> FaissFlatIndex:
        """Open what `save` or `write_flat` wrote.

        The codes stay in the file; the system holds in memory what it can. An index that is open can still be searched
        after its file was removed.

        Raises:
            BrokenIndex: The file is missing or damaged.
        """
        opened = cls.__new__(cls)
        opened._index = read_faiss(path, faiss.IO_FLAG_MMAP_IFC if is_flat(path) else 0)
        return opened

    def _checked(self, vectors: np.ndarray) -> np.ndarray:
        if vectors.ndim != 2 or vectors.shape[1] != self.dim:
            raise WrongShape(f"vectors of shape {vectors.shape} where [n, {self.dim}] is needed")
        return np.ascontiguousarray(vectors, dtype=np.float32)
