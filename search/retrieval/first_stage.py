"""The first stage of a search: the nearest vectors of an index."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from search.retrieval.ranking import Ranking, first_stage_ranking
from storage.vector_index.base import VectorIndex


def retrieve(
    index: VectorIndex, vector: np.ndarray, depth: int, allowed_ids: np.ndarray | None = None, leave_out: Sequence[int] = ()
) -> Ranking:
    """Retrieve the `depth` nearest vectors of an index; fewer if the index holds fewer.

    Equal scores are ordered by id, also across the end of the list, so that the next page continues where this one ends.
    For this the index is asked for one more than wanted, and for twice as many while the last one still has the same score.

    Args:
        index: searched by inner product.
        vector: float32 [D], of unit length.
        depth: the number of candidates.
        allowed_ids: int64 [a], the only ids that may be found; None for all.
        leave_out: ids that may not be found.
    """
    wanted = depth + len(leave_out)
    requested = wanted + 1
    while True:
        scores, ids = index.search(vector[np.newaxis], requested, allowed_ids)
        scores, ids = scores[0], ids[0]
        exhausted = len(ids) < requested or ids[-1] < 0
        if exhausted or scores[wanted - 1] > scores[-1]:
            return first_stage_ranking(ids, scores, leave_out).page(0, depth)
        requested += requested
