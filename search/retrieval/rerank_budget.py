"""Reading the first stage's best with the query, as many of them as there is time for."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Sequence
from threading import Lock
from time import perf_counter

import numpy as np

from search.query.encoding import EncodedQuery
from search.retrieval.cross_encoder import can_rerank, score_pairs
from search.retrieval.ranking import CrossEncoderScores, Ranking

KEPT = 15
GOOD_FOR_S = 60.0
"""How long a measurement counts: what was slow once is tried again after that."""
SENTENCES_ALIKE = 32
"""Sentences whose characters fill as many stretches of this length take about the same time to read."""


class LatencyModel:
    """How long a batch of pairs took to read lately, by what kind of pairs they were. Thread safe.

    Args:
        sizes: how many pairs the encoder reads at a time, upwards.
        clock: gives seconds.
    """

    def __init__(self, sizes: Sequence[int], clock=perf_counter) -> None:
        self._sizes, self._clock = tuple(sizes), clock
        self._lock = Lock()
        self._measured: dict[tuple[Hashable, int], deque[tuple[float, float]]] = {}

    def note(self, kind: Hashable, count: int, ms: float) -> None:
        """`count` pairs took `ms` milliseconds; passed over where they were no single batch that was well filled."""
        size = next((size for size in self._sizes if size >= count), None)
        if size is None or (size != self._sizes[0] and 2 * count <= size):
            return
        with self._lock:
            self._measured.setdefault((kind, size), deque(maxlen=KEPT)).append((self._clock(), ms))

    def expected_ms(self, kind: Hashable, size: int) -> float | None:
        """The median of what a batch of `size` took in the last minute; None where nothing was measured."""
        since = self._clock() - GOOD_FOR_S
        with self._lock:
            lately = [ms for at, ms in self._measured.get((kind, size), ()) if at >= since]
        return float(np.median(lately)) if lately else None

    def fitting(self, kind: Hashable, left: int, ms: float) -> int:
        """How many of `left` pairs to read next so that it takes no more than `ms`; 0 where not even a small batch fits.

        Where nothing is known yet, a small batch is read as long as there is any time: that is how it becomes known.
        """
        if ms <= 0:
            return 0
        smallest = self._sizes[0]
        known = self.expected_ms(kind, smallest)
        for size in reversed(self._sizes[1:]):
            if 2 * left > size:
                expected = self.expected_ms(kind, size)
                if expected is None and known is not None:
                    expected = known * size / smallest
                if expected is not None and expected <= ms:
                    return min(size, left)
        return min(smallest, left) if (known or 0) <= ms else 0


def score_within_budget(
    ranking: Ranking, probe: EncodedQuery, to: str, k: int, snapshot, encoder, pace: LatencyModel, until: float | None
) -> CrossEncoderScores:
    """What `score_pairs` gives of the first k, or of the first so many of them as can be read by `until`.

    Args:
        pace: knows how long it takes, and learns from this.
        until: a time of `perf_counter`; None for all k, however long it takes.
    """
    count = len(ranking.ids[:k]) if can_rerank(probe, to) else 0
    kind = to, len(probe.sentence or "") // SENTENCES_ALIKE
    parts, done = [CrossEncoderScores(np.empty(0), np.empty(0))], 0
    while done < count:
        start = perf_counter()
        several = count - done if until is None else pace.fitting(kind, count - done, 1000 * (until - start))
        if several == 0:
            break
        parts.append(score_pairs(ranking.page(done, several), probe, to, several, snapshot, encoder))
        pace.note(kind, several, 1000 * (perf_counter() - start))
        done += several
    return CrossEncoderScores(
        *(np.concatenate(column) for column in zip(*((p.match_logits, p.hub_costs) for p in parts), strict=True))
    )
