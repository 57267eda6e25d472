"""The ranking pipeline: first stage, re-ranking, lexical search, fusion.

`Engine` serves what it ranks, and `search.evaluation` measures the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from encoder.api import Encoder
from search.query.encoding import EncodedQuery
from search.query.query import Query, Target
from search.query.terms import Term, positive_words
from search.retrieval import cross_encoder
from search.retrieval.calibration import match_probabilities
from search.retrieval.first_stage import retrieve
from search.retrieval.lexical import LexicalMatches, words_of
from search.retrieval.near_duplicates import collapse
from search.retrieval.ranking import CrossEncoderScores, Ranking, fit_scores, fuse, lexical_ranking, rerank_head
from search.retrieval.rerank_budget import LatencyModel, score_within_budget
from search.retrieval.timing import Stopwatch
from storage.filtering.columns import Kind, columns_of
from storage.snapshot import Snapshot

KEYS: dict[Target, tuple[str, Kind]] = {"images": ("sha256", "text"), "captions": ("caption", "text")}
"""The column by which two candidates are the same byte for byte, and its kind."""


@dataclass(frozen=True, eq=False)
class RankingRequest:
    """What to rank by: a query after encoding and filtering.

    Attributes:
        to: what to find.
        mode: "vector", "lexical" or "hybrid".
        encoded: needed in modes "vector" and "hybrid".
        terms: their words are searched in modes "lexical" and "hybrid".
        allowed: int64 [a], the only ids that may be found; None for all.
        left_out: ids that may not be found.
        hidden_captions: ids of captions that lexical search ignores.
    """

    to: Target
    mode: str
    encoded: EncodedQuery | None
    terms: Sequence[Term] = ()
    allowed: np.ndarray | None = None
    left_out: Sequence[int] = ()
    hidden_captions: Sequence[int] | np.ndarray = ()


def request_of(query: Query, encoded: EncodedQuery | None, allowed: np.ndarray | None) -> RankingRequest:
    """What to rank by for a query. A query without words is ranked in mode "vector"."""
    mode = query.mode if positive_words(query.terms) else "vector"
    return RankingRequest(query.target, mode, encoded, query.terms, allowed, query.left_out)


class Pipeline:
    """Ranks one snapshot for one request: retrieve with `first_stage`, then `rerank`, then `rank`.

    The first stage and the lexical matches don't depend on how many candidates are re-ranked: one pipeline can rank with
    several numbers of them.

    Args:
        latency: learns how long it takes to score pairs.
        watch: counts the time of the stages "first_stage", "rerank" and "lexical".
    """

    def __init__(
        self,
        request: RankingRequest,
        snapshot: Snapshot,
        encoder: Encoder,
        latency: LatencyModel,
        watch: Stopwatch | None = None,
    ) -> None:
        self.request = request
        self._snapshot, self._encoder, self._latency = snapshot, encoder, latency
        self._watch = watch or Stopwatch()
        self._matches: LexicalMatches | None = None

    @cached_property
    def total(self) -> int:
        """How many candidates there are to rank."""
        request = self.request
        if request.mode == "lexical":
            return len(self.lexical_matches().ids)
        if request.allowed is not None:
            return len(request.allowed) - np.count_nonzero(np.isin(request.allowed, request.left_out))
        everything = self._snapshot.image_count if request.to == "images" else self._snapshot.caption_count
        return everything - len(request.left_out)

    @property
    def can_rerank(self) -> bool:
        """True if the cross-modal encoder can read the query with the candidates."""
        request = self.request
        return (
            request.mode != "lexical" and request.encoded is not None and cross_encoder.can_rerank(request.encoded, request.to)
        )

    def first_stage(self, depth: int) -> Ranking:
        """Retrieve the first `depth` candidates; all of them in modes "lexical" and "hybrid", which rank by both lists."""
        request = self.request
        if request.mode == "lexical":
            matches = self.lexical_matches()
            return lexical_ranking(matches.ids, matches.scores)
        assert request.encoded is not None  # needed in this mode
        with self._watch.stage("first_stage"):
            index = self._snapshot.image_index if request.to == "images" else self._snapshot.caption_index
            depth = self.total if request.mode == "hybrid" else min(depth, self.total)
            return retrieve(index, request.encoded.vector, depth, request.allowed, request.left_out)

    def rerank(self, first: Ranking, k: int, until: float | None = None) -> CrossEncoderScores:
        """Score the first k candidates with the cross-modal encoder, or as many of them as can be scored by `until`.

        Args:
            first: what `first_stage` gave.
            k: the number of candidates.
            until: a time of `perf_counter`, in seconds; None for no limit.
        """
        request = self.request
        if request.encoded is None or not self.can_rerank:
            return CrossEncoderScores.none()
        with self._watch.stage("rerank"):
            return score_within_budget(
                first, request.encoded, request.to, k, self._snapshot, self._encoder, self._latency, until
            )

    def rank(self, first: Ranking, scores: CrossEncoderScores) -> Ranking:
        """Put the stages together: the final ranking of what `first_stage` and `rerank` gave."""
        if self.request.mode == "lexical":
            return first
        with self._watch.stage("rerank"):
            ranking = rerank_head(first, scores, self._encoder.config.first_stage_weight)
        if self.request.mode == "vector":
            return ranking
        matches = self.lexical_matches()
        with self._watch.stage("lexical"):
            return fuse(ranking, matches.ids, matches.scores, matches.searchable_ids, matches.trust)

    def lexical_matches(self) -> LexicalMatches:
        """What shares a word with the query; searched once."""
        if self._matches is None:
            request = self.request
            with self._watch.stage("lexical"):
                self._matches = words_of(self._snapshot).find(
                    request.terms, request.to, request.allowed, request.left_out, request.hidden_captions
                )
        return self._matches

    def match_probabilities(self, ranking: Ranking) -> dict[int, float]:
        """The match probability of each candidate that was re-ranked, by id; empty if the model is not calibrated."""
        config, read = self._encoder.config, ranking.reranked
        if config.match_calibration is None or not read.any():
            return {}
        probabilities = match_probabilities(fit_scores(ranking, config.first_stage_weight), config.match_calibration)
        return dict(zip(ranking.ids[read].tolist(), probabilities.tolist(), strict=True))

    def caption_scores(self, caption_ids: np.ndarray) -> np.ndarray:
        """How well captions fit the query, float [n]: by their vectors, or by their words in mode "lexical"."""
        if self.request.encoded is None:
            return words_of(self._snapshot).caption_scores(self.lexical_matches(), caption_ids)
        vectors = self._snapshot.caption_vectors(caption_ids)
        return (vectors * self.request.encoded.vector).sum(axis=1)  # other than a matrix product, the same in any batch

    def collapse(self, ranking: Ranking, threshold: float) -> np.ndarray:
        """The position of the candidate that each one is collapsed into, int64 [n] (see `near_duplicates.collapse`)."""
        to = self.request.to
        vectors = self._snapshot.image_vectors if to == "images" else self._snapshot.caption_vectors
        name, kind = KEYS[to]
        columns = columns_of(self._snapshot, to)
        column = columns.find(name)
        assert column is not None  # every collection has these columns
        keys = column[kind].values.take(np.searchsorted(columns.ids, ranking.ids)).to_pylist()
        return collapse(vectors(ranking.ids), keys, threshold)


class RankedResults:
    """The ranked list of one query, as deep as it is needed. The order does not depend on the depth.

    Args:
        query: says how many candidates to re-rank, and within which time.
        watch: counts the time of the stages, and knows when the query began.
    """

    def __init__(self, query: Query, pipeline: Pipeline, watch: Stopwatch) -> None:
        self._query, self._pipeline, self._watch = query, pipeline, watch
        self._scores: CrossEncoderScores | None = None
        self._whole: Ranking | None = None

    @property
    def total(self) -> int:
        """How many candidates may be found."""
        return self._pipeline.total

    @property
    def reranked(self) -> int:
        """How many candidates the cross-modal encoder has read."""
        return 0 if self._scores is None else len(self._scores)

    @property
    def cut_short(self) -> bool:
        """True if more candidates would have been re-ranked with more time."""
        if self._scores is None or not self._pipeline.can_rerank:
            return False
        return self.reranked < min(self._query.rerank, self.total)

    def head(self, depth: int) -> Ranking:
        """The first `depth` candidates at least, or all."""
        if self._whole is not None:
            return self._whole
        first = self._pipeline.first_stage(max(depth, self._query.rerank))
        if self._scores is None:
            budget_ms = self._query.budget_ms
            until = None if budget_ms is None else self._watch.started + budget_ms / 1000
            self._scores = self._pipeline.rerank(first, self._query.rerank, until)
        ranking = self._pipeline.rank(first, self._scores)
        if self._pipeline.request.mode != "vector":  # all of it, whatever the depth
            self._whole = ranking
        return ranking

    def collapsed(self, wanted: int, threshold: float) -> tuple[Ranking, dict[int, list[int]], Ranking]:
        """The list without near-duplicates, so deep that `wanted` candidates stay or the list ends.

        Args:
            wanted: the number of candidates.
            threshold: the cosine from which on two candidates count as one.

        Returns:
            The candidates that stay, best first; for the id of each, the ids that are collapsed into it, in their order;
            and the list before it was collapsed.
        """
        depth = wanted
        while True:
            whole = self.head(depth)
            with self._watch.stage("fold"):
                into = self._pipeline.collapse(whole, threshold)
            stays = np.flatnonzero(into == np.arange(len(into)))
            if len(stays) >= wanted or len(whole) >= self.total:
                break
            depth *= 2
        duplicates: dict[int, list[int]] = {int(whole.ids[i]): [] for i in stays}
        for i in np.flatnonzero(into != np.arange(len(into))):
            duplicates[int(whole.ids[into[i]])].append(int(whole.ids[i]))
        return whole.take(stays), duplicates, whole
