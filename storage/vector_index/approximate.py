"""Approximate search by a FAISS factory string, with parameters that go with each query."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np

from storage.errors import WrongShape
from storage.vector_index.base import MISSING, in_order, padded
from storage.vector_index.faiss_calls import read_faiss, selector_of, threads_for, write_faiss
from storage.vector_index.ivf_file import Chunks, write_ivf
from storage.vector_index.tuning import doubling

LEAST_EF, MOST_EF = 16, 1024


class ApproximateIndex:
    """An inverted file, a graph (HNSW) or coarser codes. `effort` is nprobe or efSearch, given with every search and never
    set on the index, which all threads share. Where few ids are allowed, or fewer are found than were asked for, all
    vectors are looked at."""

    def __init__(self, dim: int, factory: str):
        """`factory` as faiss.index_factory has it, such as "IVF1024,SQfp16", "HNSW32,SQfp16" or "SQ8"."""
        self._take(faiss.index_factory(dim, f"IDMap2,{factory}", faiss.METRIC_INNER_PRODUCT), 0)

    @property
    def dim(self) -> int:
        """D, the width of every vector."""
        return self._index.d

    @property
    def count(self) -> int:
        return self._index.ntotal

    @property
    def efforts(self) -> list[int]:
        """The settings there are to try, cheapest first."""
        if self._is_ivf:
            return doubling(self._inner.nlist)
        return [ef for ef in doubling(MOST_EF) if ef >= LEAST_EF] if self._is_hnsw else [0]

    def train(self, vectors: np.ndarray) -> None:
        """Learn from float [n, D], a sample of what will be added."""
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
        """As VectorIndex.search; `excluded_ids` int64 [e] are never found. With an `effort`, which is the index's own by
        default, no more than that is looked at."""
        queries = self._checked(queries)
        found = min(k, self.count)
        if found <= 0 or len(queries) == 0:
            return padded(np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64), k)
        with threads_for(len(queries)):
            if allowed_ids is None:
                params = self._params(effort or self.effort, found, selector_of(None, excluded_ids))
                scores, ids = self._index.search(queries, found, params=params)
            if allowed_ids is not None or (effort is None and (ids == MISSING).any()):
                scores, ids = self._search_all(queries, found, allowed_ids, excluded_ids)
        return padded(*in_order(scores, ids), k)

    def save(self, path: Path) -> None:
        """Write the index to a file; `effort` isn't in it. Raises OSError."""
        write_faiss(self._index, path)

    def write(self, path: Path, chunks: Callable[[], Chunks]) -> None:
        """Write to a file what this index, trained and empty, is with vectors added: each call of `chunks` gives the same ids
        int64 [c] and vectors float [c, D], chunk by chunk. Those of an inverted file never lie in memory. Raises OSError."""
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
        """Open what `save` or `write` wrote; the lists of an inverted file stay in the file. Raises BrokenIndex."""
        opened = cls.__new__(cls)
        opened._take(read_faiss(path, faiss.IO_FLAG_MMAP), effort)
        if opened._is_ivf:
            faiss.downcast_InvertedLists(opened._inner.invlists).prefetch_nthread = 0  # threads for each query cost more
        return opened

    def _take(self, index: faiss.IndexIDMap2, effort: int) -> None:
        self._index, self._inner, self.effort = index, faiss.downcast_index(index.index), effort
        self._is_ivf, self._is_hnsw = isinstance(self._inner, faiss.IndexIVF), isinstance(self._inner, faiss.IndexHNSW)

    def _params(self, effort: int, found: int, selector) -> faiss.SearchParameters:
        if self._is_ivf:
            return faiss.SearchParametersIVF(sel=selector, nprobe=effort or 1)
        if self._is_hnsw:
            return faiss.SearchParametersHNSW(sel=selector, efSearch=max(effort, found, LEAST_EF))
        return faiss.SearchParameters(sel=selector)

    def _search_all(self, queries: np.ndarray, found: int, allowed_ids, excluded_ids) -> tuple[np.ndarray, np.ndarray]:
        """With every vector looked at: all lists of an inverted file, or the codes that a graph leads to."""
        if not self._is_hnsw:
            params = self._params(getattr(self._inner, "nlist", 0), found, selector_of(allowed_ids, excluded_ids))
            return self._index.search(queries, found, params=params)
        own = self.ids()
        alive = np.ones(len(own), bool) if allowed_ids is None else np.isin(own, allowed_ids)
        if excluded_ids is not None:
            alive &= ~np.isin(own, excluded_ids)
        params = faiss.SearchParameters(sel=selector_of(np.flatnonzero(alive), None))
        scores, places = faiss.downcast_index(self._inner.storage).search(queries, found, params=params)
        return scores, np.where(places == MISSING, MISSING, own[places])

    def _checked(self, vectors: np.ndarray) -> np.ndarray:
        if vectors.ndim != 2 or vectors.shape[1] != self.dim:
            raise WrongShape(f"vectors of shape {vectors.shape} where [n, {self.dim}] is needed")
        return np.ascontiguousarray(vectors, dtype=np.float32)
