"""The ranked list of one query, as deep as it is looked at."""

from __future__ import annotations

import numpy as np

from search.query.encoding import EncodedQuery
from search.query.query import Query
from search.query.terms import positive_words
from search.retrieval.cross_encoder import can_rerank
from search.retrieval.first_stage import retrieve
from search.retrieval.lexical import Found, words_of
from search.retrieval.near_duplicates import collapse
from search.retrieval.ranking import CrossEncoderScores, Ranking, fuse, lexical_ranking, rerank_head
from search.retrieval.rerank_budget import LatencyModel, score_within_budget
from search.retrieval.timing import Stopwatch
from storage.filtering.columns import columns_of

KEYS = {"images": ("sha256", "text"), "captions": ("caption", "text")}


class RankedResults:
    """All that may be found, best first: however deep it is looked at, the order is the same.

    `total` is how many may be found.

    Args:
        probe: what the query was encoded to; None in mode "lexical", which needs none.
        allowed: int64 [a], the ids that the filter lets through; None for all.
        watch: counts the time of both stages, and since the query began.
        pace: knows how long it takes to read pairs.
    """

    def __init__(
        self,
        query: Query,
        probe: EncodedQuery | None,
        snapshot,
        encoder,
        allowed: np.ndarray | None,
        watch: Stopwatch,
        pace: LatencyModel,
    ) -> None:
        self._query, self._probe, self._snapshot, self._encoder = query, probe, snapshot, encoder
        self._allowed, self._watch, self._pace = allowed, watch, pace
        self._reading: CrossEncoderScores | None = None
        self._found: Found | None = None
        self._whole: Ranking | None = None
        self._mode = query.mode if positive_words(query.terms) else "vector"
        everything = snapshot.image_count if query.to == "images" else snapshot.caption_count
        if allowed is None:
            self.total = everything - len(query.left_out)
        else:
            self.total = len(np.setdiff1d(allowed, query.left_out))

    @property
    def reranked(self) -> int:
        """How many candidates the cross-modal encoder read."""
        return 0 if self._reading is None else len(self._reading)

    @property
    def cut_short(self) -> bool:
        """Whether more would have been read if there had been time."""
        if self._reading is None or not can_rerank(self._probe, self._query.to):
            return False
        return self.reranked < min(self._query.rerank, self.total)

    def caption_scores(self, caption_ids: np.ndarray) -> np.ndarray:
        """How well captions fit the query, float [n]: by their words where only these are looked for, by vector otherwise."""
        if self._probe is None:
            return words_of(self._snapshot).caption_scores(self._found, caption_ids)
        vectors = self._snapshot.caption_vectors(caption_ids)
        return (vectors * self._probe.vector).sum(axis=1)  # unlike a product of matrices, the same whatever stands beside

    def head(self, depth: int) -> Ranking:
        """The first `depth` at least, or all."""
        if self._mode == "vector":
            return self._by_vector(depth)
        if self._whole is None:
            self._whole = self._by_words()
        return self._whole

    def _by_words(self) -> Ranking:
        """Everything that may be found: by words alone, or by the ranks of both."""
        query = self._query
        fused = self._by_vector(self.total) if self._mode == "hybrid" else None
        with self._watch.stage("lexical"):
            found = self._found = words_of(self._snapshot).ranking(query.terms, query.to, self._allowed, query.left_out)
            if fused is not None:
                return fuse(fused, found.ids, found.scores, found.speaking)
            self.total = len(found.ids)
            return lexical_ranking(found.ids, found.scores)

    def _by_vector(self, depth: int) -> Ranking:
        query, snapshot = self._query, self._snapshot
        index = snapshot.image_index if query.to == "images" else snapshot.caption_index
        with self._watch.stage("first_stage"):
            depth = min(max(depth, query.rerank), self.total)
            ranking = retrieve(index, self._probe.vector, depth, self._allowed, query.left_out)
        with self._watch.stage("rerank"):
            if self._reading is None:
                until = None if query.budget_ms is None else self._watch.started + query.budget_ms / 1000
                self._reading = score_within_budget(
                    ranking, self._probe, query.to, query.rerank, snapshot, self._encoder, self._pace, until
                )
            return rerank_head(ranking, self._reading, self._encoder.config.first_stage_weight)

    def folded(self, wanted: int, threshold: float) -> tuple[Ranking, dict[int, list[int]], Ranking]:
        """The list without near-duplicates, so deep that `wanted` stay or all was looked at.

        Returns:
            What stays, best first; for each id that stays, the ids that are folded into it, in their order; and the list
            as it was.
        """
        depth = wanted
        while True:
            whole = self.head(depth)
            with self._watch.stage("fold"):
                into = self._fold(whole, threshold)
            stays = np.flatnonzero(into == np.arange(len(into)))
            if len(stays) >= wanted or len(whole) >= self.total:
                break
            depth *= 2
        duplicates: dict[int, list[int]] = {int(whole.ids[i]): [] for i in stays}
        for i in np.flatnonzero(into != np.arange(len(into))):
            duplicates[int(whole.ids[into[i]])].append(int(whole.ids[i]))
        return whole.take(stays), duplicates, whole

    def _fold(self, ranking: Ranking, threshold: float) -> np.ndarray:
        to = self._query.to
        vectors = self._snapshot.image_vectors if to == "images" else self._snapshot.caption_vectors
        column, kind = KEYS[to]
        columns = columns_of(self._snapshot, to)
        keys = columns.find(column)[kind].values.take(np.searchsorted(columns.ids, ranking.ids)).to_pylist()
        return collapse(vectors(ranking.ids), keys, threshold)
