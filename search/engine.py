"""From a query to ranked, explained hits."""

from __future__ import annotations

import numpy as np

from .errors import StaleIndex
from .filters import ids_where
from .latest import LatestSnapshot
from .probing import probe_query
from .query import Query
from .ranking import Ranking
from .relevance import match_probabilities, relevance
from .result import CaptionHit, CaptionText, Hit, ImageHit, Photo, SearchResult, logit_or_none
from .stages import Probe, can_rerank, rerank, retrieve
from .timing import Stopwatch
from .translation import Translate

STAGES = ("encode", "filter", "first_stage", "rerank", "fetch")


class Engine:
    """Searches the last published version of one collection. Thread safe.

    Args:
        collection: a `storage.Collection`.
        encoder: what `encoder.open_encoder` gives.
        snapshots: shares an already open snapshot of the same collection.
        translate: turns a sentence into a language that the model knows, where it doesn't know the sentence's own.
    """

    def __init__(
        self, collection, encoder, snapshots: LatestSnapshot | None = None, translate: Translate | None = None
    ) -> None:
        self._encoder, self._translate = encoder, translate
        self._snapshots = snapshots or LatestSnapshot(collection)

    def search(self, query: Query) -> SearchResult:
        """Answers one query.

        Raises:
            StaleIndex: the index was made by other weights.
            StorageError: nothing has been published, or an id in the query is not in the collection.
            BadFilter: the filter names a column that isn't there, or compares it with what it doesn't hold.
            TermsCancelOut: the parts of the query add up to nothing.
            EncoderError: the encoder failed.
        """
        watch = Stopwatch(*STAGES)
        snapshot = self._snapshots.get()
        check_weights(snapshot, self._encoder.fingerprint)
        with watch.stage("encode"):
            probe, notices = probe_query(query, snapshot, self._encoder, self._translate)
        with watch.stage("filter"):
            allowed = None if query.where is None else ids_where(snapshot, query.where, query.to)
            total = _total(query, snapshot, allowed)
        with watch.stage("first_stage"):
            ranking = _first_stage(query, probe, snapshot, allowed, total)
        with watch.stage("rerank"):
            reranked = min(query.rerank, len(ranking)) if can_rerank(probe, query.to) else 0
            ranking = rerank(ranking, probe, query.to, reranked, snapshot, self._encoder)
        with watch.stage("fetch"):
            chances = self._chances(ranking, reranked)
            hits = _hits(ranking.page(query.offset, query.top), query, snapshot, chances)
        took = watch.ms | {"total": watch.total_ms()}
        found = relevance(max(chances)) if chances else None
        return SearchResult(query, snapshot.version, total, reranked, found, hits, took, notices)

    def _chances(self, ranking: Ranking, reranked: int) -> list[float]:
        """The match probability of each candidate that was re-ranked, best first; none without a calibration."""
        calibration = self._encoder.config.match_calibration
        if calibration is None:
            return []
        return match_probabilities(ranking.scores[:reranked], calibration).tolist()


def check_weights(snapshot, fingerprint: str) -> None:
    """Raises StaleIndex unless the snapshot's vectors were made by the weights of this fingerprint."""
    if snapshot.model_fingerprint != fingerprint:
        raise StaleIndex(snapshot.model_fingerprint, fingerprint)


def _first_stage(query: Query, probe: Probe, snapshot, allowed: np.ndarray | None, total: int) -> Ranking:
    depth = min(max(query.offset + query.top, query.rerank), total)
    index = snapshot.image_index if query.to == "images" else snapshot.caption_index
    return retrieve(index, probe.vector, depth, allowed, query.left_out)


def _total(query: Query, snapshot, allowed: np.ndarray | None) -> int:
    """How many can be found at all."""
    if allowed is not None:
        return len(np.setdiff1d(allowed, query.left_out))
    return (snapshot.image_count if query.to == "images" else snapshot.caption_count) - len(query.left_out)


def _hits(page: Ranking, query: Query, snapshot, chances: list[float]) -> list[Hit]:
    places = _places(page, query.offset, chances)
    if query.to == "captions":
        return _caption_hits(page, places, snapshot)
    return _image_hits(page, places, snapshot)


def _image_hits(page: Ranking, places: list[dict], snapshot) -> list[Hit]:
    captions = snapshot.captions_of(page.ids)
    return [
        ImageHit(
            **place,
            uri=image.uri,
            width=image.width,
            height=image.height,
            metadata=image.metadata,
            captions=[CaptionText(c.caption_id, c.text, c.language) for c in captions.get(image.image_id, [])],
        )
        for place, image in zip(places, snapshot.images(page.ids), strict=True)
    ]


def _caption_hits(page: Ranking, places: list[dict], snapshot) -> list[Hit]:
    captions = snapshot.captions(page.ids)
    image_ids = list(dict.fromkeys(caption.image_id for caption in captions))
    photos = {i.image_id: Photo(i.image_id, i.uri, i.width, i.height) for i in snapshot.images(image_ids)}
    return [
        CaptionHit(**place, text=caption.text, language=caption.language, image=photos[caption.image_id])
        for place, caption in zip(places, captions, strict=True)
    ]


def _places(page: Ranking, offset: int, chances: list[float]) -> list[dict]:
    return [
        {
            "id": int(page.ids[i]),
            "rank": offset + i + 1,
            "score": float(page.scores[i]),
            "first_stage_score": float(page.first_stage_scores[i]),
            "first_stage_rank": int(page.first_stage_ranks[i]),
            "match_logit": logit_or_none(page.match_logits[i]),
            "match_probability": chances[offset + i] if offset + i < len(chances) else None,
        }
        for i in range(len(page))
    ]
