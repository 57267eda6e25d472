"""The types of the API's answers.

The schemas of the API's document are made of these classes, and tests hold the answers to them. The names and docstrings of the
classes, and the lines in `meaning(...)`, stand in the document: programs and people read them there.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

Chance = Annotated[float, Meta(ge=0, le=1)]
Heat = Annotated[
    list[list[Chance]],
    Meta(description="Over the whole photo, row by row from the top left, from 0 where it was looked at least to 1 where most"),
]
Origin = Annotated[
    str, Meta(description="Where it was found, such as a file's name; `generated:` and a fingerprint, if a model wrote it")
]
LogProbability = Annotated[
    float | None, Meta(description="The natural logarithm of its probability by the model that wrote it; null if people did")
]
Time = Annotated[str, Meta(description="ISO 8601, UTC")]


def meaning(description: str) -> Meta:
    """Describe a field in the document, inside `Annotated`."""
    return Meta(description=description)


class Exact(Struct, forbid_unknown_fields=True):
    """A JSON object that has its fields and no others."""


class Problem(Exact):
    """What is wrong and what to do, as a problem document (RFC 9457)."""

    type: Annotated[str, meaning("What programs tell it by, such as urn:panoptes:problem:outdated-cursor")]
    title: Annotated[str, meaning("The status in words")]
    status: int
    detail: Annotated[str, meaning("What is wrong and what to do, in one line")]
    instance: Annotated[str, meaning("The path that was asked")]
    request_id: Annotated[str, meaning("Also in the header X-Request-ID, and in the server's log")]


class CollectionItem(Exact):
    """A collection of the home."""

    name: str
    version: Annotated[int, meaning("0 where nothing is published")]
    searched: Annotated[bool, meaning("Whether this server searches it")]


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
    versions: Annotated[list[Version], meaning("Newest first")]


class Run(Exact):
    """One index run."""

    run_id: int
    source: str
    state: Annotated[
        Literal["starting", "running", "done", "failed", "interrupted"], meaning("starting: its photos are not even listed yet")
    ]
    started_at: Time
    finished_at: Time | None
    total: Annotated[int, meaning("Photos of the source")]
    done: Annotated[int, meaning("Photos of the source that are through")]
    added: int
    unchanged: int
    failed: int
    images_per_second: float
    version: Annotated[int | None, meaning("What it published")]


class Runs(Exact):
    """Those of one collection."""

    collection: str
    runs: Annotated[list[Run], meaning("Newest first")]


class Build(Run):
    """An index run, to watch."""

    collection: str
    cancellable: Annotated[bool, meaning("Whether this server began it and it goes on")]
    problem: Annotated[str | None, meaning("Why it ended before its time, where this server began it")]


class Unused(Exact):
    """Files of a source that were not used, for one reason."""

    why: Annotated[str, meaning("A code, such as other_kind")]
    kind: Annotated[str, meaning("Such as HEIC")]
    count: int
    example: Annotated[str, meaning("The path of one")]


class Source(Exact):
    """What the collection was built from, and the options of `build-index` that it is built with again."""

    source: Annotated[str, meaning("A path where the server runs")]
    format: str | None
    captions: Annotated[list[str], meaning("Files with more captions")]
    languages: Annotated[list[str], meaning("Their languages: one of each or one for all")]
    limit: Annotated[int | None, meaning("Only so many of its photos")]
    keep_missing: Annotated[bool, meaning("Whether photos that it has no more are kept")]
    exclude: Annotated[list[str] | UnsetType, meaning("Patterns of what is left out, if any")] = UNSET
    image_column: Annotated[str | UnsetType, meaning("The column of tables of captions that names photos, if it was given")] = (
        UNSET
    )
    caption_column: Annotated[str | UnsetType, meaning("Their column of captions, if it was given")] = UNSET
    unused: Annotated[list[Unused] | UnsetType, meaning("What it holds and was not used, if anything")] = UNSET


class Sources(Exact):
    """Those of one collection."""

    collection: str
    sources: list[Source]


class Wanted(Struct):
    """What is to be built again."""

    source: Annotated[str, meaning("One of the collection's sources")]


class Failure(Exact):
    """A file that could not be read when it was last tried."""

    uri: str
    source: str
    reason: Annotated[str, meaning("A code, such as damaged")]
    sentence: Annotated[str, meaning("The same for people")]
    searchable: Annotated[bool, meaning("Whether the collection has it as it was before")]


class Failures(Exact):
    """Those of one collection."""

    collection: str
    total: Annotated[int, meaning("How many there are")]
    failures: Annotated[list[Failure], meaning("The first of them, by uri")]


class Added(Exact):
    """A photo of the collection."""

    id: int
    version: Annotated[int, meaning("The version of the collection that has it")]
    existed: Annotated[bool, meaning("Whether its content was there before")]
    thumbnail_url: str
    image_url: str


class Writing(Exact):
    """What caption to write."""

    language: str = "en"
    beams: Annotated[int, Meta(ge=1, le=16, description="How many beginnings are followed; 1 is fastest")] = 4
    store: Annotated[bool, meaning("Whether the collection keeps it; a server that changes nothing can only show it")] = True


class Written(Exact):
    """A caption that a model wrote."""

    id: Annotated[int | None, meaning("Its id; null if the collection doesn't have it")]
    image_id: int
    text: str
    language: str
    origin: Origin
    log_probability: float
    model: Annotated[str, meaning("The name of the model")]
    version: Annotated[int, meaning("The version of the collection")]


class Deleted(Exact):
    """A photo that the collection has no more."""

    id: int
    version: Annotated[int, meaning("The version of the collection without it")]
    images: Annotated[int, meaning("How many are left")]
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
    version: Annotated[int, meaning("0 where nothing is indexed")]
    images: int
    captions: int
    generated_captions: Annotated[int, meaning("How many of them a model wrote")]
    languages: list[str]
    index_fingerprint: Annotated[str | None, meaning("The weights that made the index")]


class Word(Exact):
    """A token of a sentence, as it stands there."""

    word: str
    heat: Heat


class Explanation(Exact):
    """Where in a photo the words of a sentence are seen."""

    query: str
    id: int
    version: Annotated[int, meaning("The version of the collection")]
    sentence: Annotated[str, meaning("What the cross-modal encoder read")]
    match_logit: Annotated[float, meaning("What it said")]
    preprocessing: Annotated[
        Literal["squash", "center_crop", "resize_crop"],
        meaning("How the photo was made the square that the maps lie over: all of it, squashed, or the square in its middle"),
    ]
    grid: Annotated[list[int], meaning("[h, w] of every map")]
    heat: Heat
    words: Annotated[list[Word], meaning("The sentence's tokens in their order, as they stand there")]
    notices: list[str]


class Term(Exact):
    """One part of what a query was read as."""

    kind: Literal["words", "photo", "image", "caption"]
    value: Annotated[str | int | None, meaning("The words, the id of a photo or caption, or null for the photo that was sent")]
    weight: Annotated[float, meaning("Below 0 where it is to be avoided")]


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
    cached: Annotated[float, meaning("There only where the answer was known from before")] | UnsetType = UNSET


class RankedHit(Exact):
    """A hit's ranks and scores at each stage."""

    id: int
    rank: Annotated[int, meaning("The place in the whole list, from 1")]
    score: Annotated[float, meaning("Never rises down the list")]
    first_stage_score: Annotated[float, meaning("Cosine of the two vectors; in mode lexical the BM25 score")]
    first_stage_rank: Annotated[int, meaning("The place before re-ranking, from 1")]
    lexical_rank: Annotated[
        int | None, meaning("The place by words, from 1; null where no word was found, or words were not looked for")
    ]
    lexical_score: Annotated[float | None, meaning("BM25; null where lexical_rank is")]
    rerank_rank: Annotated[
        int | None,
        meaning(
            "The place after re-ranking and before words and folding, from 1; null where the cross-modal encoder did not read "
            "the pair"
        ),
    ]
    rerank_score: Annotated[
        float | None,
        meaning(
            "match_logit + w * (first_stage_score - hub_cost), where w comes with the weights; null where the pair was not read"
        ),
    ]
    match_logit: Annotated[
        float | None, meaning("What the cross-modal encoder said of the pair; null where it did not read it")
    ]
    hub_cost: Annotated[
        float | None,
        meaning(
            "What was taken off first_stage_score for being near to queries of all kinds; null where the pair was not read"
        ),
    ]
    match_probability: Annotated[
        Chance | None,
        meaning(
            "How likely the pair is a match; null where the cross-modal encoder did not read it, and with weights that are not "
            "calibrated"
        ),
    ]
    duplicates: Annotated[list[int], meaning("Ids of near-duplicates that are folded into this hit")]


class Caption(Exact):
    """A caption of a found photo."""

    id: int
    text: str
    language: str
    origin: Origin
    log_probability: LogProbability


class TextLine(Exact):
    """A line of text that was read in a photo."""

    text: str
    language: str
    confidence: float
    box: Annotated[
        tuple[float, float, float, float, float, float, float, float],
        meaning("x and y of its four corners, as parts of the upright photo's width and height"),
    ]


class ImageHit(RankedHit):
    """A photo that was found, with all of its captions."""

    uri: str
    width: int
    height: int
    metadata: dict
    captions: list[Caption]
    best_caption: Annotated[
        int | None, meaning("The id of the caption that fits the query best by itself; null where there is none")
    ]
    texts: Annotated[list[TextLine], meaning("The lines of text in the photo that share a word with the query")]
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


class CaptionHit(RankedHit):
    """A caption that was found, with its photo."""

    text: str
    language: str
    origin: Origin
    log_probability: LogProbability
    image: CaptionPhoto


class SearchAnswer(Exact, tag_field="to"):
    """Hits, best first, and how they came about."""

    query: Annotated[str | None, meaning("The sentence, or the name of the photo that was sent")]
    image_id: int | None
    terms: Annotated[list[Term], meaning("What the query was read as")]
    mode: Literal["vector", "lexical", "hybrid"]
    where: str | None
    offset: int
    total: Annotated[int, meaning("How many hits can be reached by paging")]
    reranked: Annotated[
        int,
        meaning(
            "How many candidates the cross-modal encoder read: fewer than asked for where there was no time for more, or no "
            "more are there"
        ),
    ]
    version: Annotated[int, meaning("The version of the collection that was searched")]
    cursor: Annotated[str | None, meaning("For the next page, on this version of the collection; null on the last")]
    relevance: Annotated[
        Literal["strong", "weak", "none", None],
        meaning(
            "How well the best hit of the whole list fits, whatever the page: strong where its match_probability is at least "
            "0.5, weak from 0.1, none below; null where no hit has one"
        ),
    ]
    notices: Annotated[
        list[str],
        meaning(
            "What there is to know about the answer, a sentence each: that the model doesn't know the query's language, and "
            "what was searched for instead"
        ),
    ]
    took_ms: Stages


class ImageResult(SearchAnswer, tag="images"):
    """Photos, best first, and how they came about."""

    hits: list[ImageHit]


class CaptionResult(SearchAnswer, tag="captions"):
    """Captions, best first, and how they came about."""

    hits: list[CaptionHit]


Result = ImageResult | CaptionResult
