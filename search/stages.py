"""The two stages of a search, each a function: the engine strings them together, the evaluation measures them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from encoder.languages import language_asked
from encoder.query_bank import familiarity

from .ranking import Ranking, Reading, first_stage_ranking, rerank_head

DECIMALS = 4
"""What is read is rounded: its last digits depend on what shared the batch, and what is alike must stay alike on each page."""


@dataclass(frozen=True, eq=False)
class Probe:
    """A query as the encoder sees it: its vector, and what the cross-modal encoder can read of it.

    `vector` is float32 [D], of unit length; `text` the encoder's TextEncodings of one `sentence`, where the query has one, and
    `language` what it is in; `tokens` float16 [1, L, H], where it is a photo.
    """

    vector: np.ndarray
    text: object | None = None
    tokens: np.ndarray | None = None
    language: str | None = None
    sentence: str | None = None


def probe_text(encoder, text: str) -> Probe:
    """Encodes one sentence."""
    encoded = encoder.encode_texts([text])
    return Probe(encoded.vectors[0], text=encoded, language=language_asked(text), sentence=text)


def probe_image(encoder, image: np.ndarray) -> Probe:
    """Encodes one prepared photo, uint8 [S, S, 3]."""
    encoded = encoder.encode_images(image[np.newaxis])
    return Probe(encoded.vectors[0], tokens=encoded.tokens)


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


def can_rerank(probe: Probe, to: str) -> bool:
    """Whether the cross-modal encoder can read the pairs: it reads a sentence with a photo, never two alike."""
    return (probe.text if to == "images" else probe.tokens) is not None


def read(ranking: Ranking, probe: Probe, to: str, k: int, snapshot, encoder) -> Reading:
    """What the cross-modal encoder says of the first k candidates with the query, and what they cost as hubs; of none where it
    can't read such pairs."""
    head = ranking.ids[:k]
    if len(head) == 0 or not can_rerank(probe, to):
        return Reading(np.empty(0), np.empty(0))
    if to == "images":
        logits, vectors_of = encoder.match(probe.text, snapshot.tokens(head)), snapshot.image_vectors
    else:
        captions = encoder.encode_texts([caption.text for caption in snapshot.captions(head)])
        logits, vectors_of = encoder.match(captions, probe.tokens), snapshot.caption_vectors
    costs = _hub_costs(head, vectors_of, probe, to, encoder)
    return Reading(np.round(logits.astype(np.float64), DECIMALS), np.round(costs, DECIMALS + 2))


def rerank(ranking: Ranking, probe: Probe, to: str, k: int, snapshot, encoder) -> Ranking:
    """The second stage: reads the first k candidates together with the query and puts them in that order.

    What is near to queries in general, by the model's query bank, counts less.
    """
    reading = read(ranking, probe, to, k, snapshot, encoder)
    return rerank_head(ranking, reading, encoder.config.first_stage_weight)


def _hub_costs(ids: np.ndarray, vectors_of, probe: Probe, to: str, encoder) -> np.ndarray:
    """What is subtracted from each candidate's first-stage score, float64 [k]."""
    config, bank = encoder.config, encoder.query_bank
    weight = config.hub_weights[to != "images"]
    if bank is None or not weight:
        return np.zeros(len(ids))
    queries = bank.sentences(probe.language) if to == "images" else bank.images
    return weight * familiarity(vectors_of(ids), queries, config.hub_sharpness)
