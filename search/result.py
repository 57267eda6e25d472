"""What a search answers with."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field

from search.query.query import Query
from search.query.translation import Notice
from search.retrieval.calibration import Relevance


@dataclass(frozen=True)
class CaptionText:
    """A caption of a found photo."""

    id: int
    text: str
    language: str


@dataclass(frozen=True)
class Photo:
    """The photo of a found caption; width and height in pixels, upright."""

    id: int
    uri: str
    width: int
    height: int


@dataclass(frozen=True)
class Hit:
    """What every hit tells about its place at each stage: ranks count from 1.

    `lexical_rank` and `lexical_score` are the place by words, None where there is none or words were not looked for;
    `rerank_rank`, `rerank_score`, `match_logit` and `hub_cost`, what was taken off `first_stage_score`, are None where the pair
    was not read, `match_probability` also where the weights are not calibrated. `duplicates` are the ids that are folded into
    this hit, as far down the list as was looked.
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
    """A photo that was found, with all of its captions; `best_caption` is the id of the one that fits the query best by itself,
    None where there is none."""

    uri: str
    width: int
    height: int
    metadata: dict
    captions: list[CaptionText]
    best_caption: int | None


@dataclass(frozen=True)
class CaptionHit(Hit):
    """A caption that was found, with its photo."""

    text: str
    language: str
    image: Photo


@dataclass(frozen=True, eq=False)
class SearchResult:
    """Hits, best first, and how they came about.

    `total` is how many could be reached by paging, `reranked` how many the cross-modal encoder read, `version` the
    version of the collection that was searched, `took_ms` milliseconds by stage; there is `cached` among them where all of it
    was known from before. `relevance` is that of the best hit of
    the whole list, whatever the page, and None where no hit has a match probability. `notices` is what there is to know
    about the answer, such as that the model doesn't know the query's language. `more` says whether there is a next page, and
    `cursor` is for its query.
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

    def as_json(self) -> dict:
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
    """NaN stands for "not read" in a ranking; JSON has no NaN."""
    return None if math.isnan(number) else float(number)
