"""Approximate search by a FAISS factory string, with parameters that go with each query."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from storage.errors import WrongShape
from storage.vector_index.base import MISSING, in_order, padded
from storage.vector_index.faiss_calls import read_faiss, selector_of, threads_for, untyped_faiss, write_faiss
from storage.vector_index.ivf_file import Chunks, write_ivf
from storage.vector_index.tuning import doubling

MIN_EF, MAX_EF = 16, 1024


class ApproximateIndex:
    """An inverted file, a graph (HNSW) or coarser codes.

    `effort` is FAISS's nprobe or efSearch. It is given with every search and never set on the FAISS index, which all threads
    share. A search that allows only some ids, or finds fewer than it should, looks at all vectors.
    """

    effort: int

    def __init__(self, dim: int, factory: str):
        """Make an empty index in memory.

        Args:
            dim: D, the width of every vector.
            factory: A string for `faiss.index_factory`, such as "IVF1024,SQfp16", "HNSW32,SQfp16" or "SQ8".
        """
        self._set_index(untyped_faiss.index_factory(dim, f"IDMap2,{factory}", faiss.METRIC_INNER_PRODUCT), 0)

    @property
    def dim(self) -> int:
        """D, the width of every vector."""
        return self._index.d

    @property
    def count(self) -> int:
        """The number of vectors."""
        return self._index.ntotal

    @property
    def efforts(self) -> list[int]:
        """The settings to try when the index is tuned, cheapest first."""
        if self._is_ivf:
            return doubling(self._inner.nlist)
        return [ef for ef in doubling(MAX_EF) if ef >= MIN_EF] if self._is_hnsw else [0]

    def train(self, vectors: np.ndarray) -> None:
        """Learn from a sample of what will be added, float [n, D]."""
        self._index.train(self._checked(vectors))

    def add(self, ids: np.ndarray, vectors: np.ndarray) -> None:
        """Add float vectors [n, D] under ids [n], which must be new."""
        self._index.add_with_ids(self._checked(vectors), np.ascontiguousarray(ids, dtype=np.int64))

    def search(
        self,
        queries: np.ndarray,
        k: int,
        allowed_ids: np.ndarray | None = None,
        excluded_ids: np.ndarray | None = None,
        effort: int | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Search as `VectorIndex.search` does, approximately.

        Args:
            queries: As `VectorIndex.search`; so are `k`, `allowed_ids` and `excluded_ids`.
            effort: Look at no more than this setting does. None: the index's own effort, and all vectors if that finds
                too few.

        Raises:
            WrongShape: The queries are of another width.
        """
        queries = self._checked(queries)
        limit = min(k, self.count)
        if limit <= 0 or len(queries) == 0:
            return padded(np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64), k)
        with threads_for(len(queries)):
            scores, ids = self._search(queries, limit, allowed_ids, excluded_ids, effort)
        return padded(*in_order(scores, ids), k)

    def save(self, path: Path) -> None:
        """Write the index to a file; `effort` isn't in it.

        Raises:
            OSError: The file can't be written.
        """
        write_faiss(self._index, path)

    def write(self, path: Path, chunks: Callable[[], Chunks]) -> None:
        """Add vectors to this index, which is trained and empty, and write it to a file.

        The vectors of an inverted file never lie in memory together.

        Args:
            path: The file to write.
            chunks: Gives all ids int64 [c] and vectors float [c, D], chunk by chunk, the same ones at each call.

        Raises:
            OSError: The file can't be written.
        """
        if self._is_ivf:
            write_ivf(path, self._index, chunks)
            return
        for ids, vectors in chunks():
            self.add(ids, vectors)
        self.save(path)

    def ids(self) -> np.ndarray:
        """The id of every vector, int64 [n], in the order in which they were added."""
        return faiss.vector_to_array(self._index.id_map)

    @classmethod
    def open(cls, path: Path, effort: int) -> ApproximateIndex:
        """Open what `save` or `write` wrote; the lists of an inverted file stay in the file.

        Raises:
            BrokenIndex: The file is missing or damaged.
        """
        opened = cls.__new__(cls)
        opened._set_index(read_faiss(path, faiss.IO_FLAG_MMAP), effort)
        if opened._is_ivf:
            lists = untyped_faiss.downcast_InvertedLists(opened._inner.invlists)
            lists.prefetch_nthread = 0  # threads for each query cost more
        return opened

    def _set_index(self, index: faiss.IndexIDMap2, effort: int) -> None:
        self._index, self.effort = index, effort
        self._inner: Any = untyped_faiss.downcast_index(index.index)
        self._is_ivf, self._is_hnsw = isinstance(self._inner, faiss.IndexIVF), isinstance(self._inner, faiss.IndexHNSW)

    def _params(self, effort: int, limit: int, selector: faiss.IDSelector | None) -> faiss.SearchParameters:
        if self._is_ivf:
            return untyped_faiss.SearchParametersIVF(sel=selector, nprobe=effort or 1)
        if self._is_hnsw:
            return untyped_faiss.SearchParametersHNSW(sel=selector, efSearch=max(effort, limit, MIN_EF))
        return untyped_faiss.SearchParameters(sel=selector)

    def _search(
        self,
        queries: np.ndarray,
        limit: int,
        allowed_ids: np.ndarray | None,
        excluded_ids: np.ndarray | None,
        effort: int | None,
    ) -> tuple[np.ndarray, np.ndarray]:
        if allowed_ids is None:
            params = self._params(effort or self.effort, limit, selector_of(None, excluded_ids))
            scores: np.ndarray
            ids: np.ndarray
            scores, ids = self._index.search(queries, limit, params=params)
            if effort is not None or not (ids == MISSING).any():
                return scores, ids
        return self._search_all(queries, limit, allowed_ids, excluded_ids)

    def _search_all(
        self, queries: np.ndarray, limit: int, allowed_ids: np.ndarray | None, excluded_ids: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Look at every vector: at all lists of an inverted file, or at the codes that a graph leads to."""
        if not self._is_hnsw:
            params = self._params(getattr(self._inner, "nlist", 0), limit, selector_of(allowed_ids, excluded_ids))
            return self._index.search(queries, limit, params=params)
        own_ids = self.ids()
        alive = np.ones(len(own_ids), bool) if allowed_ids is None else np.isin(own_ids, allowed_ids)
        if excluded_ids is not None:
            alive &= ~np.isin(own_ids, excluded_ids)
        params = untyped_faiss.SearchParameters(sel=selector_of(np.flatnonzero(alive), None))
        storage = untyped_faiss.downcast_index(self._inner.storage)
        scores, positions = storage.search(queries, limit, params=params)
        return scores, np.where(positions == MISSING, MISSING, own_ids[positions])

    def _checked(self, vectors: np.ndarray) -> np.ndarray:
        if vectors.ndim != 2 or vectors.shape[1] != self.dim:
            raise WrongShape(f"vectors of shape {vectors.shape} where [n, {self.dim}] is needed")
        return np.ascontiguousarray(vectors, dtype=np.float32)
