"""From a page of a ranking to hits with all their records."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet

import numpy as np

from search.result import CaptionHit, CaptionText, Hit, ImageHit, Photo, number_or_none
from search.retrieval.lexical import tokens
from search.retrieval.ranking import Ranking
from storage import CaptionRecord
from storage.photo_texts import PhotoTexts, TextLine
from storage.snapshot import Snapshot

ScoreCaptions = Callable[[np.ndarray], np.ndarray]
"""From ids of captions, int64 [n], to how well each fits the query, float [n]."""


def build_hits(
    page: Ranking,
    offset: int,
    to: str,
    snapshot: Snapshot,
    probabilities: Mapping[int, float],
    duplicates: Mapping[int, Sequence[int]],
    caption_scores: ScoreCaptions,
    words: AbstractSet[str] = frozenset(),
) -> list[Hit]:
    """Build the hits of one page.

    Args:
        page: the candidates of the page.
        offset: the number of hits before the page.
        to: "images" or "captions".
        snapshot: what was searched.
        probabilities: the match probability of each id that has one.
        duplicates: the ids that are collapsed into each id; empty if none are.
        caption_scores: chooses the best caption of an image.
        words: index tokens of the query, which choose the lines of text in an image.
    """
    ranks = [_rank_fields(page, i, offset, probabilities, duplicates) for i in range(len(page))]
    if to == "captions":
        return [*_caption_hits(page, ranks, snapshot)]
    return [*_image_hits(page, ranks, snapshot, caption_scores, words)]


def _image_hits(
    page: Ranking, ranks: list[dict], snapshot: Snapshot, caption_scores: ScoreCaptions, words: AbstractSet[str]
) -> list[ImageHit]:
    captions = snapshot.captions_of(page.ids)
    best = _best_captions(captions, caption_scores)
    return [
        ImageHit(
            **fields,
            uri=image.uri,
            width=image.width,
            height=image.height,
            metadata=image.all_metadata,
            captions=[
                CaptionText(c.caption_id, c.text, c.language, c.origin, c.log_probability)
                for c in captions.get(image.image_id, [])
            ],
            best_caption=best.get(image.image_id),
            texts=matching_lines(snapshot.texts, image.sha256, words),
        )
        for fields, image in zip(ranks, snapshot.images(page.ids), strict=True)
    ]


def matching_lines(texts: PhotoTexts, sha256: str, words: AbstractSet[str]) -> list[TextLine]:
    """The lines of a photo, by its content, that have one of these index tokens."""
    found = texts.of(sha256) if words else None
    return [] if found is None else [line for line in found.lines if not words.isdisjoint(tokens(line.text))]


def _best_captions(captions: Mapping[int, Sequence[CaptionRecord]], caption_scores: ScoreCaptions) -> dict[int, int]:
    """The id of each photo's best caption; the first of equal ones."""
    ids = np.array([caption.caption_id for own in captions.values() for caption in own], np.int64)
    scores = dict(zip(ids.tolist(), caption_scores(ids), strict=True)) if len(ids) else {}
    return {
        image_id: max((caption.caption_id for caption in own), key=scores.__getitem__)
        for image_id, own in captions.items()
        if own
    }


def _caption_hits(page: Ranking, ranks: list[dict], snapshot: Snapshot) -> list[CaptionHit]:
    captions = snapshot.captions(page.ids)
    image_ids = list(dict.fromkeys(caption.image_id for caption in captions))
    photos = {i.image_id: Photo(i.image_id, i.uri, i.width, i.height) for i in snapshot.images(image_ids)}
    return [
        CaptionHit(
            **fields,
            text=caption.text,
            language=caption.language,
            origin=caption.origin,
            log_probability=caption.log_probability,
            image=photos[caption.image_id],
        )
        for fields, caption in zip(ranks, captions, strict=True)
    ]


def _rank_fields(
    page: Ranking, i: int, offset: int, probabilities: Mapping[int, float], duplicates: Mapping[int, Sequence[int]]
) -> dict:
    """The fields of `Hit` for candidate i of the page."""
    hit_id = int(page.ids[i])
    return {
        "id": hit_id,
        "rank": offset + i + 1,
        "score": float(page.scores[i]),
        "first_stage_score": float(page.first_stage_scores[i]),
        "first_stage_rank": int(page.first_stage_ranks[i]),
        "lexical_rank": _rank_or_none(page.lexical_ranks[i]),
        "lexical_score": number_or_none(page.lexical_scores[i]),
        "rerank_rank": _rank_or_none(page.rerank_ranks[i]),
        "rerank_score": number_or_none(page.rerank_scores[i]),
        "match_logit": number_or_none(page.match_logits[i]),
        "match_probability": probabilities.get(hit_id),
        "hub_cost": number_or_none(page.hub_costs[i]),
        "duplicates": list(duplicates.get(hit_id, ())),
    }


def _rank_or_none(rank: float) -> int | None:
    return None if math.isnan(rank) else int(rank)
