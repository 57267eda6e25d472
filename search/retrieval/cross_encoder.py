"""The second stage of a search: the cross-modal encoder reads the best candidates together with the query."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from encoder.api import Encoder
from encoder.query_bank import familiarity
from search.query.encoding import EncodedQuery
from search.query.query import Target
from search.retrieval.ranking import CrossEncoderScores, Ranking
from storage.snapshot import Snapshot

DECIMALS = 4
"""Match logits are rounded: their last digits depend on the other pairs of the batch, and equal pairs must stay equal."""


def can_rerank(encoded: EncodedQuery, to: Target) -> bool:
    """True if the cross-modal encoder can read this query with the candidates.

    It reads pairs of one sentence and one photo. It can't read two sentences, or two photos.
    """
    return (encoded.text if to == "images" else encoded.tokens) is not None


def score_pairs(
    ranking: Ranking, encoded: EncodedQuery, to: Target, k: int, snapshot: Snapshot, encoder: Encoder
) -> CrossEncoderScores:
    """Score the first k candidates together with the query; none if `can_rerank` is false."""
    head = ranking.ids[:k]
    if len(head) == 0 or not can_rerank(encoded, to):
        return CrossEncoderScores.none()
    if to == "images":
        logits, vectors_of = encoder.match(encoded.text, snapshot.tokens(head)), snapshot.image_vectors
    else:
        assert encoded.tokens is not None  # by can_rerank
        captions = encoder.encode_texts([caption.text for caption in snapshot.captions(head)])
        logits, vectors_of = encoder.match(captions, encoded.tokens), snapshot.caption_vectors
    costs = _hub_costs(head, vectors_of, encoded, to, encoder)
    return CrossEncoderScores(np.round(logits.astype(np.float64), DECIMALS), np.round(costs, DECIMALS + 2))


def _hub_costs(
    ids: np.ndarray, vectors_of: Callable[[np.ndarray], np.ndarray], encoded: EncodedQuery, to: Target, encoder: Encoder
) -> np.ndarray:
    """Compute what is subtracted from the first-stage score of each candidate, float64 [k].

    A candidate that is near to queries in general, by the model's query bank, costs more.
    """
    config, bank = encoder.config, encoder.query_bank
    weight = config.hub_weights[to != "images"]
    if bank is None or not weight:
        return np.zeros(len(ids))
    queries = bank.sentences(encoded.language) if to == "images" else bank.images
    return weight * familiarity(vectors_of(ids), queries, config.hub_sharpness)
