"""Ranked lists: pure functions over numpy arrays, the same for the engine and for its evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Ranking:
    """Candidates, best first; entry i of every array, each of shape [n], speaks of the same candidate.

    `scores` never increase. `first_stage_ranks` count from 1. `match_logits` are NaN where the pair was not read.
    """

    ids: np.ndarray
    scores: np.ndarray
    first_stage_scores: np.ndarray
    first_stage_ranks: np.ndarray
    match_logits: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    def page(self, offset: int, top: int) -> Ranking:
        """The `top` candidates after the first `offset`; fewer, or none, where the list ends."""
        return self.take(slice(offset, offset + top))

    def take(self, rows: slice | np.ndarray) -> Ranking:
        """The candidates at these positions."""
        return Ranking(
            self.ids[rows],
            self.scores[rows],
            self.first_stage_scores[rows],
            self.first_stage_ranks[rows],
            self.match_logits[rows],
        )


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
    return Ranking(ids, scores, scores, ranks, np.full(len(ids), np.nan))


def rerank_head(ranking: Ranking, match_logits: np.ndarray, weight: float) -> Ranking:
    """Puts the first `len(match_logits)` candidates of a first-stage ranking into the order of what was read.

    A candidate that was read scores `match_logit + weight * first_stage_score`. The others keep their order and stay
    below: theirs is the head's lowest score less the distance by which their first-stage score falls short of the
    head's lowest, so that scores go on falling across the seam whatever the range of the logits.
    """
    size = len(match_logits)
    if size > len(ranking):
        raise ValueError(f"{size} match logits for a ranking of {len(ranking)}")
    if size == 0:
        return ranking
    logits = np.asarray(match_logits, np.float64)
    head_scores = logits + weight * ranking.first_stage_scores[:size]
    short_by = ranking.first_stage_scores[size - 1] - ranking.first_stage_scores[size:]
    scores = np.concatenate([head_scores, head_scores.min() - short_by])
    all_logits = np.concatenate([logits, ranking.match_logits[size:]])
    head = best_first(head_scores, ranking.ids[:size])
    order = np.concatenate([head, np.arange(size, len(ranking))])
    read = Ranking(ranking.ids, scores, ranking.first_stage_scores, ranking.first_stage_ranks, all_logits)
    return read.take(order)
