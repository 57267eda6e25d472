"""A caption that a model writes of a photo of the collection on demand, and how well it fits beside stored ones."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from encoder.api import CaptionWriter, Encoder, WrittenCaption
from encoder.runtime.pair import tokens_fingerprint
from search.query.query_photo import read_stored
from storage.snapshot import Snapshot


def write_caption(snapshot: Snapshot, image_id: int, writer: CaptionWriter, language: str, beams: int) -> WrittenCaption:
    """Write a caption of a photo, of what is stored of it if the captioner reads that, else of its file.

    Raises:
        UnknownId: there is no such photo.
        UnreadablePhoto: the file is needed and can't be read.
        UnwrittenLanguage: the captioner doesn't write this language.
    """
    if writer.encoder_fingerprint == tokens_fingerprint(snapshot.model_fingerprint):
        tokens = snapshot.tokens([image_id])
    else:
        record = snapshot.images([image_id])[0]
        tokens = writer.encode_images(read_stored(record, writer.config)[None])
    return writer.write(tokens, language, beams)[0]


def fit_of(snapshot: Snapshot, image_id: int, text: str, encoder: Encoder) -> tuple[float, float]:
    """The first-stage score of a sentence and a photo, and their match logit."""
    texts = encoder.encode_texts([text])
    cosine = float(texts.vectors[0] @ snapshot.image_vectors([image_id])[0])
    return cosine, float(encoder.match(texts, snapshot.tokens([image_id]))[0])


def among_hits(
    hits: Sequence[Mapping[str, Any]],
    written: Mapping[str, Any],
    score: float,
    logit: float,
    weight: float,
    calibration: Sequence[float] | None,
) -> list[dict[str, Any]]:
    """Put a written caption among the captions that were found for its photo, by how well each fits.

    Args:
        hits: the captions that were found, best first, as JSON values; those without a match logit are last.
        written: the text and language of the written one, and what else a hit is shown with.
        score: its first-stage score.
        logit: its match logit.
        weight: w in fit = match logit + w * first-stage score.
        calibration: (a, m, b) of the match probability; None if there is none.

    Returns:
        The hits, with the written one before the first that fits worse. Its match probability is what it would have been
        among the candidates that were re-ranked with the hits; None where theirs is not known.
    """

    def fit(hit: Mapping[str, Any]) -> float:
        return -math.inf if hit["match_logit"] is None else hit["match_logit"] + weight * hit["first_stage_score"]

    own = logit + weight * score
    known = next((hit for hit in hits if hit["match_probability"] not in (None, 0.0, 1.0)), None)
    probability = None
    if known is not None and calibration is not None:
        odds = math.log(known["match_probability"] / (1 - known["match_probability"]))
        probability = 1 / (1 + math.exp(-float(np.clip(odds + calibration[0] * (own - fit(known)), -700, 700))))
    place = next((i for i, hit in enumerate(hits) if fit(hit) < own), len(hits))
    new = {**written, "first_stage_score": score, "match_logit": logit, "match_probability": probability}
    return [*map(dict, hits[:place]), new, *map(dict, hits[place:])]
