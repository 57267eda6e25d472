"""Ranked lists: pure functions over numpy arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

RRF = 60
"""The constant of reciprocal rank fusion: the larger it is, the less the first ranks count more than those after them."""


@dataclass(frozen=True, eq=False)
class Ranking:
    """Candidates, best first. Entry i of every array, each of shape [n], belongs to the same candidate.

    Ranks count from 1.

    Attributes:
        ids: int64, of images or captions.
        scores: float64, what orders the list; never increasing.
        first_stage_scores: float64.
        first_stage_ranks: int64.
        match_logits: float64, NaN where the pair was not re-ranked, as are the next three.
        hub_costs: float64, what was subtracted from the first-stage scores.
        rerank_ranks: float64.
        rerank_scores: float64.
        lexical_ranks: float64, NaN where no word was found, as are the scores.
        lexical_scores: float64.
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

    @property
    def reranked(self) -> np.ndarray:
        """bool [n], True for the candidates that the cross-modal encoder has read."""
        return ~np.isnan(self.match_logits)

    def page(self, offset: int, top: int) -> Ranking:
        """The `top` candidates after the first `offset`; fewer, or none, at the end of the list."""
        return self.take(slice(offset, offset + top))

    def take(self, rows: slice | np.ndarray) -> Ranking:
        """The candidates at these positions."""
        return Ranking(*(getattr(self, field.name)[rows] for field in fields(self)))


def fit_scores(ranking: Ranking, weight: float) -> np.ndarray:
    """How well each re-ranked candidate fits the query, float64 [k]: `match_logit + weight * first_stage_score`.

    Unlike the scores that order the list, this does not depend on whether a candidate is a hub.
    """
    read = ranking.reranked
    return ranking.match_logits[read] + weight * ranking.first_stage_scores[read]


def best_first(scores: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Positions that order by falling score, and by rising id where scores are equal; int64 [n]."""
    return np.lexsort((ids, -scores))


def first_stage_ranking(ids: np.ndarray, scores: np.ndarray, leave_out: Sequence[int] = ()) -> Ranking:
    """Make a ranking of an index's answer, without the id -1 (nothing found) and the ids in `leave_out`."""
    ids = np.asarray(ids, np.int64)
    scores = np.asarray(scores, np.float64)
    kept = (ids >= 0) & ~np.isin(ids, np.asarray(leave_out, np.int64))
    ids, scores = ids[kept], scores[kept]
    order = best_first(scores, ids)
    ids, scores = ids[order], scores[order]
    nan = np.full(len(ids), np.nan)
    return Ranking(ids, scores, scores, np.arange(1, len(ids) + 1), nan, nan, nan, nan, nan, nan)


def lexical_ranking(ids: np.ndarray, scores: np.ndarray) -> Ranking:
    """Make a ranking of what was found by words, which is ordered already."""
    ranks = np.arange(1, len(ids) + 1)
    scores = np.asarray(scores, np.float64)
    nan = np.full(len(ids), np.nan)
    return Ranking(ids, scores, scores, ranks, nan, nan, nan, nan, ranks.astype(np.float64), scores)


def fuse(
    ranking: Ranking,
    lexical_ids: np.ndarray,
    lexical_scores: np.ndarray,
    searchable_ids: np.ndarray,
    trust: np.ndarray | None = None,
) -> Ranking:
    """Fuse a ranking of everything with what was found by words, by reciprocal rank fusion (Cormack et al., SIGIR 2009).

    A candidate scores 1 / (RRF + rank), summed over the lists that it is in. The field's plain form would put a photo
    without a caption below all that share any word with the query. So a candidate that could not be found by words takes
    its rank in `ranking` as its lexical rank too. One whose words can be trusted only so far lies between the two.

    Args:
        ranking: everything that may be found.
        lexical_ids: int64 [m], best first; ids that are not in `ranking` are ignored.
        lexical_scores: float [m].
        searchable_ids: int64 [s], what could have been found by words; ids that are not in `ranking` are ignored.
        trust: float [s], how far the words of each can be trusted, from 0 to 1; None: all of them entirely.
    """
    known = np.isin(lexical_ids, ranking.ids)
    order = np.argsort(ranking.ids)
    rows = order[np.searchsorted(ranking.ids, lexical_ids[known], sorter=order)]
    ranks, scores = np.full((2, len(ranking)), np.nan)
    ranks[rows], scores[rows] = np.arange(1, len(rows) + 1), lexical_scores[known]
    own = 1 / (RRF + np.arange(1, len(ranking) + 1))
    trusted, ranked = np.zeros(len(ranking)), np.isin(searchable_ids, ranking.ids)
    rows = order[np.searchsorted(ranking.ids, searchable_ids[ranked], sorter=order)]
    trusted[rows] = 1.0 if trust is None else trust[ranked]
    by_words = trusted * np.nan_to_num(1 / (RRF + ranks)) + (1 - trusted) * own
    fused = replace(ranking, scores=own + by_words, lexical_ranks=ranks, lexical_scores=scores)
    return fused.take(best_first(fused.scores, ranking.ids))


@dataclass(frozen=True, eq=False)
class CrossEncoderScores:
    """What the second stage says of a ranking's first k candidates.

    Attributes:
        match_logits: float64 [k].
        hub_costs: float64 [k], what is subtracted from the first-stage score of each.
    """

    match_logits: np.ndarray
    hub_costs: np.ndarray

    def __len__(self) -> int:
        return len(self.match_logits)

    @classmethod
    def none(cls) -> CrossEncoderScores:
        """The scores of no candidates."""
        return cls(np.empty(0), np.empty(0))


def rerank_head(ranking: Ranking, scores: CrossEncoderScores, weight: float) -> Ranking:
    """Reorder the first candidates of a first-stage ranking, those that were scored.

    A scored candidate gets `match_logit + weight * (first_stage_score - hub_cost)`. The others keep their order and stay
    below: each gets the head's lowest score minus how far its first-stage score lies below that of the head's last. So
    scores fall across the seam too, whatever the range of the logits.

    Raises:
        ValueError: there are more scores than candidates.
    """
    size = len(scores)
    if size > len(ranking):
        raise ValueError(f"{size} match logits for a ranking of {len(ranking)}")
    if size == 0:
        return ranking
    logits = np.asarray(scores.match_logits, np.float64)
    head_scores = logits + weight * (ranking.first_stage_scores[:size] - scores.hub_costs)
    short_by = ranking.first_stage_scores[size - 1] - ranking.first_stage_scores[size:]
    head = best_first(head_scores, ranking.ids[:size])
    ranks = np.empty(size)
    ranks[head] = np.arange(1, size + 1)

    def of_head(values: np.ndarray) -> np.ndarray:
        return np.concatenate([values, np.full(len(ranking) - size, np.nan)])

    reranked = replace(
        ranking,
        scores=np.concatenate([head_scores, head_scores.min() - short_by]),
        match_logits=of_head(logits),
        hub_costs=of_head(scores.hub_costs),
        rerank_ranks=of_head(ranks),
        rerank_scores=of_head(head_scores),
    )
    return reranked.take(np.concatenate([head, np.arange(size, len(ranking))]))
