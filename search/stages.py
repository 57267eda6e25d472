"""The two stages of a search, each a function: the engine strings them together, the evaluation measures them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .ranking import Ranking, first_stage_ranking, rerank_head


@dataclass(frozen=True, eq=False)
class Probe:
    """A query as the encoder sees it: its vector, and what the cross-modal encoder can read of it.

    `vector` is float32 [D], of unit length; `text` the encoder's TextEncodings of one sentence, where the query is one;
    `tokens` float16 [1, L, H], where it is a photo.
    """

    vector: np.ndarray
    text: object | None = None
    tokens: np.ndarray | None = None


def probe_text(encoder, text: str) -> Probe:
    """Encodes one sentence."""
    encoded = encoder.encode_texts([text])
    return Probe(encoded.vectors[0], text=encoded)


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


def match_logits(ranking: Ranking, probe: Probe, to: str, k: int, snapshot, encoder) -> np.ndarray:
    """What the cross-modal encoder says of the first k candidates with the query, float [k]; [0] where it reads none."""
    head = ranking.ids[:k]
    if len(head) == 0 or not can_rerank(probe, to):
        return np.empty(0)
    if to == "images":
        return encoder.match(probe.text, snapshot.tokens(head))
    captions = encoder.encode_texts([caption.text for caption in snapshot.captions(head)])
    return encoder.match(captions, probe.tokens)


def rerank(ranking: Ranking, probe: Probe, to: str, k: int, snapshot, encoder) -> Ranking:
    """The second stage: reads the first k candidates together with the query and puts them in that order."""
    logits = match_logits(ranking, probe, to, k, snapshot, encoder)
    return rerank_head(ranking, logits, encoder.config.first_stage_weight)
