"""The result of a search."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from search.query.query import Query
from search.query.translation import Notice
from search.retrieval.calibration import Relevance
from storage.photo_texts import TextLine


@dataclass(frozen=True)
class CaptionText:
    """A caption of a found photo.

    Attributes:
        id: its id.
        text: the sentence.
        language: a code such as "en" or "zh".
        origin: where it was found; "generated:" and a fingerprint, if a model wrote it.
        log_probability: by the model that wrote it; None, if people did.
    """

    id: int
    text: str
    language: str
    origin: str
    log_probability: float | None


@dataclass(frozen=True)
class Photo:
    """The photo of a found caption; width and height in pixels, upright."""

    id: int
    uri: str
    width: int
    height: int


@dataclass(frozen=True)
class Hit:
    """A hit with its rank and score at each stage. Ranks count from 1.

    Attributes:
        id: of the image or caption.
        rank: in the final list.
        score: what the final list is ordered by.
        first_stage_score: cosine, or BM25 in mode "lexical".
        first_stage_rank: by this score.
        lexical_rank: by words; None if no word was found or the mode is "vector", as is the score.
        lexical_score: BM25.
        rerank_rank: after re-ranking; None if the pair was not re-ranked, as are the next four.
        rerank_score: match logit + weight * (first-stage score - hub cost).
        match_logit: of the cross-modal encoder.
        match_probability: None also if the model is not calibrated.
        hub_cost: what was subtracted from the first-stage score.
        duplicates: ids that are collapsed into this hit, as far down the list as was looked.
    """

    id: int
    rank: int
    score: float
    first_stage_score: float
    first_stage_rank: int
    lexical_rank: int | None
    lexical_score: float | None
    rerank_rank: int | None
    rerank_score: float | None
    match_logit: float | None
    match_probability: float | None
    hub_cost: float | None
    duplicates: list[int]


@dataclass(frozen=True)
class ImageHit(Hit):
    """A photo that was found, with all its captions.

    Attributes:
        uri: where it is.
        width: in pixels, upright.
        height: in pixels, upright.
        metadata: what its source and its file say of it.
        captions: all of them.
        best_caption: the id of the caption that fits the query best by itself; None if there is none.
        texts: the lines of text in the photo that share a word with the query.
    """

    uri: str
    width: int
    height: int
    metadata: dict
    captions: list[CaptionText]
    best_caption: int | None
    texts: list[TextLine] = field(default_factory=list)


@dataclass(frozen=True)
class CaptionHit(Hit):
    """A caption that was found, with its photo; origin and log_probability as in `CaptionText`."""

    text: str
    language: str
    origin: str
    log_probability: float | None
    image: Photo


@dataclass(frozen=True, eq=False)
class SearchResult:
    """The hits of one page, best first, and how they came about.

    Attributes:
        query: the query, with the offset of the page.
        version: the version of the collection that was searched.
        total: how many hits could be reached by paging.
        reranked: how many candidates the cross-modal encoder read.
        relevance: of the best hit of the whole list, whatever the page; None if no hit has a match probability.
        hits: best first.
        took_ms: milliseconds by stage; with "cached" if the result came from the cache.
        notices: what to know about the answer, such as that the model doesn't know the query's language.
        more: True if there is a next page.
        cursor: for the query of the next page.
    """

    query: Query
    version: int
    total: int
    reranked: int
    relevance: Relevance | None
    hits: list[Hit]
    took_ms: dict[str, float]
    notices: list[Notice] = field(default_factory=list)
    more: bool = False
    cursor: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Plain values only, ready for `json.dumps`."""
        return {
            "query": self.query.as_text(),
            "image_id": self.query.image_id,
            "terms": [term.as_json() for term in self.query.terms],
            "to": self.query.to,
            "mode": self.query.mode,
            "where": self.query.where,
            "offset": self.query.offset,
            "total": self.total,
            "reranked": self.reranked,
            "version": self.version,
            "cursor": self.cursor,
            "relevance": self.relevance,
            "notices": [notice.sentence for notice in self.notices],
            "hits": [asdict(hit) for hit in self.hits],
            "took_ms": {stage: round(ms, 2) for stage, ms in self.took_ms.items()},
        }


def number_or_none(number: float) -> float | None:
    """None for NaN, which stands for "not re-ranked" in a ranking: JSON has no NaN."""
    return None if math.isnan(number) else float(number)
