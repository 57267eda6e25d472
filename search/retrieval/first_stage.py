"""The first stage of a search: the nearest vectors of an index."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from search.retrieval.ranking import Ranking, first_stage_ranking


def retrieve(
    index, vector: np.ndarray, depth: int, allowed_ids: np.ndarray | None = None, leave_out: Sequence[int] = ()
) -> Ranking:
    """The first stage: the `depth` nearest of an index, fewer where it holds fewer.

    Equal scores are settled by id even where they straddle the end of what was asked for, so that the next page goes
    on where this one ended: the index is asked for one more, and for twice as many as long as that has the same score.
    """
    wanted = depth + len(leave_out)
    asked = wanted + 1
    while True:
        scores, ids = index.search(vector[np.newaxis], asked, allowed_ids)
        scores, ids = scores[0], ids[0]
        exhausted = len(ids) < asked or ids[-1] < 0
        if exhausted or scores[wanted - 1] > scores[-1]:
            return first_stage_ranking(ids, scores, leave_out).page(0, depth)
        asked += asked
