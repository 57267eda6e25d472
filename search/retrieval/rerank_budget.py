"""Re-ranking within a time budget: score as many of the first stage's best as there is time for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Sequence
from threading import Lock
from time import perf_counter

import numpy as np

from encoder.api import Encoder
from search.query.encoding import EncodedQuery
from search.query.query import Target
from search.retrieval.cross_encoder import can_rerank, score_pairs
from search.retrieval.ranking import CrossEncoderScores, Ranking
from storage.snapshot import Snapshot

KEPT = 15
GOOD_FOR_S = 60.0
"""How long a measurement counts, in seconds: after that, what was slow once is tried again."""
SENTENCE_STEP = 32
"""Sentences whose lengths in characters fall into the same step of this size take about the same time to read."""


class LatencyModel:
    """How long a batch of pairs took lately, by the kind of pairs. Thread safe.

    Args:
        sizes: the batch sizes of the encoder, ascending.
        clock: gives the time in seconds.
    """

    def __init__(self, sizes: Sequence[int], clock: Callable[[], float] = perf_counter) -> None:
        self._sizes, self._clock = tuple(sizes), clock
        self._lock = Lock()
        self._measured: dict[tuple[Hashable, int], deque[tuple[float, float]]] = {}

    def note(self, kind: Hashable, count: int, ms: float) -> None:
        """Record that `count` pairs took `ms` milliseconds; ignored unless they were a single, well-filled batch."""
        size = next((size for size in self._sizes if size >= count), None)
        if size is None or (size != self._sizes[0] and 2 * count <= size):
            return
        with self._lock:
            self._measured.setdefault((kind, size), deque(maxlen=KEPT)).append((self._clock(), ms))

    def expected_ms(self, kind: Hashable, size: int) -> float | None:
        """The median time of a batch of `size` in the last GOOD_FOR_S seconds; None if nothing was measured."""
        since = self._clock() - GOOD_FOR_S
        with self._lock:
            lately = [ms for at, ms in self._measured.get((kind, size), ()) if at >= since]
        return float(np.median(lately)) if lately else None

    def fitting(self, kind: Hashable, left: int, ms: float) -> int:
        """How many of `left` pairs to score next within `ms` milliseconds; 0 if not even a small batch fits.

        While nothing is known, a small batch is scored as long as there is any time: this is how its time becomes known.
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
    ranking: Ranking,
    encoded: EncodedQuery,
    to: Target,
    k: int,
    snapshot: Snapshot,
    encoder: Encoder,
    latency: LatencyModel,
    until: float | None,
) -> CrossEncoderScores:
    """Score the first k candidates, or as many of them as can be scored by `until`.

    Args:
        latency: knows how long this takes, and learns from it.
        until: a time of `perf_counter`, in seconds; None for all k, however long they take.
    """
    count = len(ranking.ids[:k]) if can_rerank(encoded, to) else 0
    kind = to, len(encoded.sentence or "") // SENTENCE_STEP
    parts, done = [CrossEncoderScores.none()], 0
    while done < count:
        start = perf_counter()
        size = count - done if until is None else latency.fitting(kind, count - done, 1000 * (until - start))
        if size == 0:
            break
        parts.append(score_pairs(ranking.page(done, size), encoded, to, size, snapshot, encoder))
        latency.note(kind, size, 1000 * (perf_counter() - start))
        done += size
    return CrossEncoderScores(
        np.concatenate([part.match_logits for part in parts]), np.concatenate([part.hub_costs for part in parts])
    )
