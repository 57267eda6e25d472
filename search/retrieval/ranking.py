"""Ranked lists: pure functions over numpy arrays, the same for the engine and for its evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

RRF = 60
"""The constant of reciprocal rank fusion: how little the first places count more than those after them."""


@dataclass(frozen=True, eq=False)
class Ranking:
    """Candidates, best first; entry i of every array, each of shape [n], speaks of the same candidate.

    `scores` never increase. Ranks count from 1. `match_logits`, `hub_costs`, and the place that re-ranking gave, `rerank_ranks`
    and `rerank_scores`, are NaN where the pair was not read; `lexical_ranks` and `lexical_scores` where no word was found.
    """

    ids: np.ndarray
    scores: np.ndarray
    first_stage_scores: np.ndarray
    first_stage_ranks: np.ndarray
    match_logits: np.ndarray
    hub_costs: np.ndarray
    rerank_ranks: np.ndarray
    rerank_scores: np.ndarray
    lexical_ranks: np.ndarray
    lexical_scores: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    def page(self, offset: int, top: int) -> Ranking:
        """The `top` candidates after the first `offset`; fewer, or none, where the list ends."""
        return self.take(slice(offset, offset + top))

    def take(self, rows: slice | np.ndarray) -> Ranking:
        """The candidates at these positions."""
        return Ranking(*(getattr(self, field.name)[rows] for field in fields(self)))


def fit_scores(ranking: Ranking, weight: float) -> np.ndarray:
    """How well each candidate that was read fits the query, float64 [k]: `match_logit + weight * first_stage_score`.

    Unlike the scores it is ranked by, this is the same for a hub as for any other.
    """
    read = ~np.isnan(ranking.match_logits)
    return ranking.match_logits[read] + weight * ranking.first_stage_scores[read]


def best_first(scores: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Positions that order by falling score, and by rising id where scores are equal; int64 [n]."""
    return np.lexsort((ids, -scores))


def first_stage_ranking(ids: np.ndarray, scores: np.ndarray, leave_out: Sequence[int] = ()) -> Ranking:
    """What an index answered, as a ranking; drops the id -1 (nothing found) and the ids `leave_out`."""
    ids = np.asarray(ids, np.int64)
    scores = np.asarray(scores, np.float64)
    kept = (ids >= 0) & ~np.isin(ids, np.asarray(leave_out, np.int64))
    ids, scores = ids[kept], scores[kept]
    order = best_first(scores, ids)
    ids, scores = ids[order], scores[order]
    ranks = np.arange(1, len(ids) + 1)
    return Ranking(ids, scores, scores, ranks, *[np.full(len(ids), np.nan)] * 6)


def lexical_ranking(ids: np.ndarray, scores: np.ndarray) -> Ranking:
    """What was found by words, best first as it came, as a ranking."""
    ranks = np.arange(1, len(ids) + 1)
    scores = np.asarray(scores, np.float64)
    return Ranking(ids, scores, scores, ranks, *[np.full(len(ids), np.nan)] * 4, ranks.astype(np.float64), scores)


def fuse(ranking: Ranking, lexical_ids: np.ndarray, lexical_scores: np.ndarray, speaking_ids: np.ndarray) -> Ranking:
    """Reciprocal rank fusion of a ranking of everything with what was found by words.

    A candidate scores 1 / (RRF + rank) for each of the lists that it is in, once however many it is in (Cormack et al., SIGIR
    2009). What could not be found by words, for it has none, is taken to have the rank there that it has here: in the field's
    plain form a photo without a caption lies below all that share any word with the query. All else that is known stays.

    Args:
        ranking: everything that may be found.
        lexical_ids: int64 [m], best first, with `lexical_scores` float [m]; what is not in `ranking` is passed over.
        speaking_ids: int64 [s], what could have been found by words.
    """
    known = np.isin(lexical_ids, ranking.ids)
    order = np.argsort(ranking.ids)
    rows = order[np.searchsorted(ranking.ids, lexical_ids[known], sorter=order)]
    lexical, lexical_score = np.full((2, len(ranking)), np.nan)
    lexical[rows], lexical_score[rows] = np.arange(1, len(rows) + 1), lexical_scores[known]
    own = 1 / (RRF + np.arange(1, len(ranking) + 1))
    by_words = np.where(np.isin(ranking.ids, speaking_ids), np.nan_to_num(1 / (RRF + lexical)), own)
    fused = replace(ranking, scores=own + by_words, lexical_ranks=lexical, lexical_scores=lexical_score)
    return fused.take(best_first(fused.scores, ranking.ids))


@dataclass(frozen=True, eq=False)
class CrossEncoderScores:
    """What the second stage has found of a ranking's first k candidates: `match_logits` float [k], and `hub_costs` float [k],
    what is taken off the first-stage score of each."""

    match_logits: np.ndarray
    hub_costs: np.ndarray

    def __len__(self) -> int:
        return len(self.match_logits)


def rerank_head(ranking: Ranking, reading: CrossEncoderScores, weight: float) -> Ranking:
    """Puts the first candidates of a first-stage ranking, those that were read, into the order of what was found.

    A candidate that was read scores `match_logit + weight * (first_stage_score - hub_cost)`. The others keep their order and
    stay below: theirs is the head's lowest score less the distance by which their first-stage score falls short of the
    head's lowest, so that scores go on falling across the seam whatever the range of the logits.
    """
    size = len(reading)
    if size > len(ranking):
        raise ValueError(f"{size} match logits for a ranking of {len(ranking)}")
    if size == 0:
        return ranking
    logits = np.asarray(reading.match_logits, np.float64)
    head_scores = logits + weight * (ranking.first_stage_scores[:size] - reading.hub_costs)
    short_by = ranking.first_stage_scores[size - 1] - ranking.first_stage_scores[size:]
    scores = np.concatenate([head_scores, head_scores.min() - short_by])
    head = best_first(head_scores, ranking.ids[:size])
    ranks = np.empty(size)
    ranks[head] = np.arange(1, size + 1)

    def of_head(values: np.ndarray) -> np.ndarray:
        return np.concatenate([values, np.full(len(ranking) - size, np.nan)])

    ranked = replace(
        ranking,
        scores=scores,
        match_logits=of_head(logits),
        hub_costs=of_head(reading.hub_costs),
        rerank_ranks=of_head(ranks),
        rerank_scores=of_head(head_scores),
    )
    return ranked.take(np.concatenate([head, np.arange(size, len(ranking))]))
