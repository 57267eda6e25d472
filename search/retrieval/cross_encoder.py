"""The second stage of a search: the cross-modal encoder reads the best candidates together with the query."""

from __future__ import annotations

import numpy as np

from encoder.query_bank import familiarity
from search.query.encoding import EncodedQuery
from search.retrieval.ranking import CrossEncoderScores, Ranking, rerank_head

DECIMALS = 4
"""Match logits are rounded: their last digits depend on the other pairs of the batch, and equal pairs must stay equal."""


def can_rerank(probe: EncodedQuery, to: str) -> bool:
    """Whether the cross-modal encoder can read the pairs: it reads a sentence with a photo, never two alike."""
    return (probe.text if to == "images" else probe.tokens) is not None


def score_pairs(ranking: Ranking, probe: EncodedQuery, to: str, k: int, snapshot, encoder) -> CrossEncoderScores:
    """What the cross-modal encoder says of the first k candidates with the query, and what they cost as hubs; of none where it
    can't read such pairs."""
    head = ranking.ids[:k]
    if len(head) == 0 or not can_rerank(probe, to):
        return CrossEncoderScores(np.empty(0), np.empty(0))
    if to == "images":
        logits, vectors_of = encoder.match(probe.text, snapshot.tokens(head)), snapshot.image_vectors
    else:
        captions = encoder.encode_texts([caption.text for caption in snapshot.captions(head)])
        logits, vectors_of = encoder.match(captions, probe.tokens), snapshot.caption_vectors
    costs = _hub_costs(head, vectors_of, probe, to, encoder)
    return CrossEncoderScores(np.round(logits.astype(np.float64), DECIMALS), np.round(costs, DECIMALS + 2))


def rerank(ranking: Ranking, probe: EncodedQuery, to: str, k: int, snapshot, encoder) -> Ranking:
    """The second stage: reads the first k candidates together with the query and puts them in that order.

    What is near to queries in general, by the model's query bank, counts less.
    """
    reading = score_pairs(ranking, probe, to, k, snapshot, encoder)
    return rerank_head(ranking, reading, encoder.config.first_stage_weight)


def _hub_costs(ids: np.ndarray, vectors_of, probe: EncodedQuery, to: str, encoder) -> np.ndarray:
    """What is subtracted from each candidate's first-stage score, float64 [k]."""
    config, bank = encoder.config, encoder.query_bank
    weight = config.hub_weights[to != "images"]
    if bank is None or not weight:
        return np.zeros(len(ids))
    queries = bank.sentences(probe.language) if to == "images" else bank.images
    return weight * familiarity(vectors_of(ids), queries, config.hub_sharpness)
