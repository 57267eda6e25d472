"""What the API answers with, as types: the document's schemas are made of them, and tests hold the answers to them."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from search.query.query import MODES
from search.retrieval.calibration import WORDS
from storage.catalog.catalog import DONE, FAILED, INTERRUPTED, RUNNING, STARTING

Chance = Annotated[float, Meta(ge=0, le=1)]
Heat = Annotated[
    list[list[Chance]],
    Meta(description="Over the whole photo, row by row from the top left, from 0 where it was looked at least to 1 where most"),
]
Time = Annotated[str, Meta(description="ISO 8601, UTC")]


def said(kind: object, description: str) -> object:
    """A type with a line on what it stands for."""
    return Annotated[kind, Meta(description=description)]


class Exact(Struct, forbid_unknown_fields=True):
    """Has these members and no other."""


class Problem(Exact):
    """What is wrong and what to do, as a problem document (RFC 9457)."""

    type: said(str, "What programs tell it by, such as urn:panoptes:problem:outdated-cursor")
    title: said(str, "The status in words")
    status: int
    detail: said(str, "What is wrong and what to do, in one line")
    instance: said(str, "The path that was asked")
    request_id: said(str, "Also in the header X-Request-ID, and in the server's log")


class CollectionItem(Exact):
    """A collection of the home."""

    name: str
    version: said(int, "0 where nothing is published")
    searched: said(bool, "Whether this server searches it")


class Collections(Exact):
    """All there are."""

    collections: list[CollectionItem]


class Version(Exact):
    """A published version of a collection."""

    version: int
    fingerprint: str
    images: int
    captions: int
    published_at: Time


class Versions(Exact):
    """Those of one collection."""

    collection: str
    versions: said(list[Version], "Newest first")


class Run(Exact):
    """One index run."""

    run_id: int
    source: str
    state: said(Literal[STARTING, RUNNING, DONE, FAILED, INTERRUPTED], "starting: its photos are not even listed yet")
    started_at: Time
    finished_at: Time | None
    total: said(int, "Photos of the source")
    done: said(int, "Photos of the source that are through")
    added: int
    unchanged: int
    failed: int
    images_per_second: float
    version: said(int | None, "What it published")


class Runs(Exact):
    """Those of one collection."""

    collection: str
    runs: said(list[Run], "Newest first")


class Build(Run):
    """An index run, to watch."""

    collection: str
    cancellable: said(bool, "Whether this server began it and it goes on")
    problem: said(str | None, "Why it ended before its time, where this server began it")


class Source(Exact):
    """What the collection was built from, and the options of `build-index` that it is built with again."""

    source: said(str, "A path where the server runs")
    format: str | None
    captions: said(list[str], "Files with more captions")
    languages: said(list[str], "Their languages: one of each or one for all")
    limit: said(int | None, "Only so many of its photos")
    keep_missing: said(bool, "Whether photos that it has no more are kept")


class Sources(Exact):
    """Those of one collection."""

    collection: str
    sources: list[Source]


class Wanted(Struct):
    """What is to be built again."""

    source: said(str, "One of the collection's sources")


class Failure(Exact):
    """A file that could not be read when it was last tried."""

    uri: str
    source: str
    reason: said(str, "A code, such as damaged")
    sentence: said(str, "The same for people")
    searchable: said(bool, "Whether the collection has it as it was before")


class Failures(Exact):
    """Those of one collection."""

    collection: str
    total: said(int, "How many there are")
    failures: said(list[Failure], "The first of them, by uri")


class Added(Exact):
    """A photo of the collection."""

    id: int
    version: said(int, "The version of the collection that has it")
    existed: said(bool, "Whether its content was there before")
    thumbnail_url: str
    image_url: str


class Deleted(Exact):
    """A photo that the collection has no more."""

    id: int
    version: said(int, "The version of the collection without it")
    images: said(int, "How many are left")
    captions: int


class State(Exact):
    """How the server is doing."""

    status: Literal["ok", "ready", "loading", "failed"]


class Model(Exact):
    """The weights that answer; name and fingerprint are null until they are loaded."""

    state: Literal["loading", "ready", "failed"]
    name: str | None
    fingerprint: str | None


class Status(Exact):
    """What is indexed, and whether the model is ready."""

    collection: str
    model: Model
    version: said(int, "0 where nothing is indexed")
    images: int
    captions: int
    languages: list[str]
    index_fingerprint: said(str | None, "The weights that made the index")


class Word(Exact):
    """A token of a sentence, as it stands there."""

    word: str
    heat: Heat


class Explanation(Exact):
    """Where in a photo the words of a sentence are seen."""

    query: str
    id: int
    version: said(int, "The version of the collection")
    sentence: said(str, "What the cross-modal encoder read")
    match_logit: said(float, "What it said")
    preprocessing: said(
        Literal["squash", "center_crop", "resize_crop"],
        "How the photo was made the square that the maps lie over: all of it, squashed, or the square in its middle",
    )
    grid: said(list[int], "[h, w] of every map")
    heat: Heat
    words: said(list[Word], "The sentence's tokens in their order, as they stand there")
    notices: list[str]


class Term(Exact):
    """One part of what a query was read as."""

    kind: Literal["words", "photo", "image", "caption"]
    value: said(str | int | None, "The words, the id of a photo or caption, or null for the photo that was sent")
    weight: said(float, "Below 0 where it is to be avoided")


class Stages(Exact):
    """Milliseconds by stage."""

    encode: float
    filter: float
    first_stage: float
    rerank: float
    lexical: float
    fold: float
    fetch: float
    total: float
    cached: said(float, "There only where the answer was known from before") | UnsetType = UNSET


class Place(Exact):
    """What every hit tells about its place at each stage."""

    id: int
    rank: said(int, "The place in the whole list, from 1")
    score: said(float, "Never rises down the list")
    first_stage_score: said(float, "Cosine of the two vectors; in mode lexical the BM25 score")
    first_stage_rank: said(int, "The place before re-ranking, from 1")
    lexical_rank: said(int | None, "The place by words, from 1; null where no word was found, or words were not looked for")
    lexical_score: said(float | None, "BM25; null where lexical_rank is")
    rerank_rank: said(
        int | None,
        "The place after re-ranking and before words and folding, from 1; null where the cross-modal encoder did not read "
        "the pair",
    )
    rerank_score: said(
        float | None,
        "match_logit + w * (first_stage_score - hub_cost), where w comes with the weights; null where the pair was not read",
    )
    match_logit: said(float | None, "What the cross-modal encoder said of the pair; null where it did not read it")
    hub_cost: said(
        float | None,
        "What was taken off first_stage_score for being near to queries of all kinds; null where the pair was not read",
    )
    match_probability: said(
        Chance | None,
        "How likely the pair is a match; null where the cross-modal encoder did not read it, and with weights that are not "
        "calibrated",
    )
    duplicates: said(list[int], "Ids of near-duplicates that are folded into this hit")


class Caption(Exact):
    """A caption of a found photo."""

    id: int
    text: str
    language: str


class ImageHit(Place):
    """A photo that was found, with all of its captions."""

    uri: str
    width: int
    height: int
    metadata: dict
    captions: list[Caption]
    best_caption: said(int | None, "The id of the caption that fits the query best by itself; null where there is none")
    thumbnail_url: str
    image_url: str


class CaptionPhoto(Exact):
    """The photo of a found caption; width and height in pixels, upright."""

    id: int
    uri: str
    width: int
    height: int
    thumbnail_url: str
    image_url: str


class CaptionHit(Place):
    """A caption that was found, with its photo."""

    text: str
    language: str
    image: CaptionPhoto


class Found(Exact, tag_field="to"):
    """Hits, best first, and how they came about."""

    query: said(str | None, "The sentence, or the name of the photo that was sent")
    image_id: int | None
    terms: said(list[Term], "What the query was read as")
    mode: Literal[MODES]
    where: str | None
    offset: int
    total: said(int, "How many hits can be reached by paging")
    reranked: said(
        int,
        "How many candidates the cross-modal encoder read: fewer than asked for where there was no time for more, or no "
        "more are there",
    )
    version: said(int, "The version of the collection that was searched")
    cursor: said(str | None, "For the next page, on this version of the collection; null on the last")
    relevance: said(
        Literal[(*WORDS, None)],
        "How well the best hit of the whole list fits, whatever the page: strong where its match_probability is at least 0.5, "
        "weak from 0.1, none below; null where no hit has one",
    )
    notices: said(
        list[str],
        "What there is to know about the answer, a sentence each: that the model doesn't know the query's language, and what "
        "was searched for instead",
    )
    took_ms: Stages


class ImageResult(Found, tag="images"):
    """Photos, best first, and how they came about."""

    hits: list[ImageHit]


class CaptionResult(Found, tag="captions"):
    """Captions, best first, and how they came about."""

    hits: list[CaptionHit]


Result = ImageResult | CaptionResult
