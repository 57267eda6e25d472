"""From a page of a ranking to hits with all that is known of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from search.result import CaptionHit, CaptionText, Hit, ImageHit, Photo, number_or_none
from search.retrieval.ranking import Ranking


def build_hits(
    page: Ranking,
    offset: int,
    to: str,
    snapshot,
    chances: Mapping[int, float],
    duplicates: Mapping[int, Sequence[int]],
    caption_scores: Callable[[np.ndarray], np.ndarray],
) -> list[Hit]:
    """The hits of one page.

    Args:
        offset: how many come before the page.
        chances: the match probability of each id that has one.
        duplicates: the ids that are folded into each id; empty where nothing is folded.
        caption_scores: from ids of captions, int64 [n], to how well each fits the query.
    """
    places = [_place(page, i, offset, chances, duplicates) for i in range(len(page))]
    if to == "captions":
        return _caption_hits(page, places, snapshot)
    return _image_hits(page, places, snapshot, caption_scores)


def _image_hits(page: Ranking, places: list[dict], snapshot, caption_scores) -> list[Hit]:
    captions = snapshot.captions_of(page.ids)
    best = _best_captions(captions, caption_scores)
    return [
        ImageHit(
            **place,
            uri=image.uri,
            width=image.width,
            height=image.height,
            metadata=image.metadata,
            captions=[CaptionText(c.caption_id, c.text, c.language) for c in captions.get(image.image_id, [])],
            best_caption=best.get(image.image_id),
        )
        for place, image in zip(places, snapshot.images(page.ids), strict=True)
    ]


def _best_captions(captions: Mapping[int, Sequence], caption_scores) -> dict[int, int]:
    """The caption of each photo that fits best, of equal ones the first."""
    ids = np.array([caption.caption_id for own in captions.values() for caption in own], np.int64)
    scores = dict(zip(ids.tolist(), caption_scores(ids), strict=True)) if len(ids) else {}
    return {
        image_id: max((caption.caption_id for caption in own), key=scores.__getitem__)
        for image_id, own in captions.items()
        if own
    }


def _caption_hits(page: Ranking, places: list[dict], snapshot) -> list[Hit]:
    captions = snapshot.captions(page.ids)
    image_ids = list(dict.fromkeys(caption.image_id for caption in captions))
    photos = {i.image_id: Photo(i.image_id, i.uri, i.width, i.height) for i in snapshot.images(image_ids)}
    return [
        CaptionHit(**place, text=caption.text, language=caption.language, image=photos[caption.image_id])
        for place, caption in zip(places, captions, strict=True)
    ]


def _place(page: Ranking, i: int, offset: int, chances: Mapping[int, float], duplicates: Mapping[int, Sequence[int]]) -> dict:
    own = int(page.ids[i])
    return {
        "id": own,
        "rank": offset + i + 1,
        "score": float(page.scores[i]),
        "first_stage_score": float(page.first_stage_scores[i]),
        "first_stage_rank": int(page.first_stage_ranks[i]),
        "lexical_rank": _rank_or_none(page.lexical_ranks[i]),
        "lexical_score": number_or_none(page.lexical_scores[i]),
        "rerank_rank": _rank_or_none(page.rerank_ranks[i]),
        "rerank_score": number_or_none(page.rerank_scores[i]),
        "match_logit": number_or_none(page.match_logits[i]),
        "match_probability": chances.get(own),
        "hub_cost": number_or_none(page.hub_costs[i]),
        "duplicates": list(duplicates.get(own, ())),
    }


def _rank_or_none(rank: float) -> int | None:
    return None if math.isnan(rank) else int(rank)
