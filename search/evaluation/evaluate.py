"""Measure recall and the time of a query, on a collection whose captions belong to their photos."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from encoder.api import Encoder
from search.errors import NothingToMeasure
from search.evaluation import unanswerable
from search.evaluation.metrics import best_relevant_rank, mean_over_folds, median, p95, recall_interval
from search.evaluation.protocols import PROTOCOLS
from search.evaluation.topics import TEXT_TO_IMAGE, Fold, Topic, folds_of, image_topics, text_topics
from search.query.encoding import EncodedQuery, encode_photo, encode_sentence
from search.query.query_photo import read_stored
from search.query.terms import Term
from search.query.translation import measured_notices
from search.retrieval.lexical import words_of
from search.retrieval.pipeline import Pipeline, RankingRequest
from search.retrieval.ranking import Ranking
from search.retrieval.rerank_budget import LatencyModel
from search.retrieval.timing import Stopwatch
from storage.snapshot import Snapshot

KS = (1, 5, 10)
DEEPEST_KEPT = 100
PEOPLE, GENERATED, BOTH = "people", "generated", "both"


@dataclass(frozen=True, eq=False)
class Answer:
    """The ranking of one topic.

    Attributes:
        topic: what was asked.
        rerank: the number of candidates that were re-ranked.
        ids: int64 [n], the first DEEPEST_KEPT at most, best first.
        scores: float64 [n].
        rank: the rank of the best relevant item.
    """

    topic: Topic
    rerank: int
    ids: np.ndarray
    scores: np.ndarray
    rank: float


Progress = Callable[[int, int], None]
Keep = Callable[[Answer], None]
RowKey = tuple[str, str, int]
"""Direction, language and number of re-ranked candidates."""


@dataclass
class _Row:
    """What was measured for one row of the report: entry i of each list belongs to query i."""

    ranks: list[float] = field(default_factory=list)
    first_stage_hits: list[bool] = field(default_factory=list)
    groups: list[int] = field(default_factory=list)
    folds: list[int] = field(default_factory=list)
    ms: list[float] = field(default_factory=list)


class _Run:
    """An evaluation in progress: the rows so far, and how many queries are done."""

    def __init__(
        self,
        snapshot: Snapshot,
        encoder: Encoder,
        depths: Sequence[int],
        mode: str,
        progress: Progress | None,
        keep: Keep | None,
        hidden: np.ndarray,
    ) -> None:
        self.snapshot, self.encoder, self.depths, self.mode = snapshot, encoder, depths, mode
        self.hidden = hidden
        self.rows: dict[RowKey, _Row] = {}
        self.done = self.total = 0
        self._progress, self._keep = progress, keep
        self._latency = LatencyModel(encoder.match_batches)
        if mode != "vector":
            words_of(snapshot)  # indexed here, so that no query's time includes it

    def ask_by_sentence(self, topic: Topic) -> None:
        """Encode the topic's caption, and rank."""
        watch = Stopwatch()
        encoded = encode_sentence(self.encoder, topic.sentence) if self.mode != "lexical" else None
        self._ask(topic, encoded, watch.total_ms())
        self.step()

    def ask_by_photo(self, topics: list[Topic]) -> None:
        """Encode the photo that these topics share, and rank for each."""
        watch = Stopwatch()
        record = self.snapshot.images([topics[0].image_id])[0]
        encoded = encode_photo(self.encoder, read_stored(record, self.encoder.config))
        encode_ms = watch.total_ms()
        for topic in topics:
            self._ask(topic, encoded, encode_ms)
        self.step()

    def step(self) -> None:
        """Count one query as done."""
        self.done += 1
        if self._progress is not None:
            self._progress(self.done, self.total)

    def _ask(self, topic: Topic, encoded: EncodedQuery | None, encode_ms: float) -> None:
        """Retrieve once, then re-rank anew for each number of candidates."""
        watch = Stopwatch()
        pipeline = Pipeline(_request(topic, self.mode, encoded, self.hidden), self.snapshot, self.encoder, self._latency)
        deepest = DEEPEST_KEPT if self._keep is not None else max(KS) + len(topic.relevant)
        first = pipeline.first_stage(max(*self.depths, deepest))
        if self.mode == "hybrid":
            pipeline.lexical_matches()  # here, so that its time counts for each K
        shared_ms = encode_ms + watch.total_ms()
        for k in self.depths:
            watch = Stopwatch()
            ranking = pipeline.rank(first, pipeline.rerank(first, k))
            self._note(topic, k, first, ranking, shared_ms + watch.total_ms())

    def _note(self, topic: Topic, k: int, first: Ranking, ranking: Ranking, ms: float) -> None:
        rank = best_relevant_rank(ranking.scores, np.isin(ranking.ids, topic.relevant))
        row = self.rows.setdefault((topic.direction, topic.language, k), _Row())
        row.ms.append(ms)
        row.ranks.append(rank)
        row.first_stage_hits.append(bool(np.isin(first.ids[:k], topic.relevant).any()))
        row.groups.append(topic.image_id)
        row.folds.append(topic.fold)
        if self._keep is not None:
            self._keep(Answer(topic, k, ranking.ids[:DEEPEST_KEPT], ranking.scores[:DEEPEST_KEPT], rank))


def evaluate(
    snapshot: Snapshot,
    encoder: Encoder,
    rerank: Iterable[int] = (0, 32),
    languages: Iterable[str] = ("en", "zh"),
    queries: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    absent: int = 0,
    mode: str = "vector",
    protocol: str = "all",
    keep: Keep | None = None,
    words: str = PEOPLE,
) -> dict:
    """Search for every photo by each of its captions, and for the captions of every photo, one query at a time.

    A text query is answered if its own photo is among the first k of all photos; an image query, if any caption of the photo
    is among the first k of all captions of that language. A tie counts against the system, and so does a relevant item
    that lies deeper than the ranking. The rankings are those of `search.retrieval.pipeline`, which `Engine` serves. Queries
    and right answers are people's captions: those that a model wrote are neither.

    Args:
        snapshot: its photos must still be where they were, because image queries are encoded anew.
        rerank: the numbers of candidates to re-rank, each a row; 0 for the first stage alone.
        languages: a language without captions gets no row.
        queries: the size of a seeded sample of queries for each row; None for all.
        progress: called as `progress(done, total)` after each query.
        absent: how many photos of each language to leave out of the index, to measure whether "nothing found" is right.
        mode: "vector", "lexical" or "hybrid". The last two hide the caption that a query was taken from, and measure text to
            image only, because a photo has no words.
        protocol: a key of `protocols.PROTOCOLS`.
        keep: called with the Answer of each query and K.
        words: what modes "lexical" and "hybrid" find words in: captions of PEOPLE, the GENERATED ones, or BOTH.

    Returns:
        `{"images", "seed", "mode", "words", "protocol", "folds", "results": [row, ...], "rsum": [...], "notices": [...]}`. A
        row has `direction`, `language`, `rerank`, `queries`; in percent `R@1`, `R@5`, `R@10` (the mean over folds), the 95 %
        bootstrap interval of each (`R@1_ci`, ...), and with re-ranking `ceiling`, the share of queries that it could at best
        put first; `p50_ms` and `p95_ms` of a whole query: encode, first stage, re-rank. `rsum` is the sum of the six recalls
        of a language and K, if both directions were measured; `notices` are sentences, such as that the model doesn't know a
        language. With `absent` there is also `"relevance"`: for each language what `unanswerable.measure` returns at the
        largest of `rerank`.

    Raises:
        NothingToMeasure: no caption is in any of `languages`.
        TooFewPhotos: so many photos can't be left out.
        TooFewForProtocol: the protocol needs more photos.
    """
    measured = _languages_with_captions(snapshot, languages)
    folds = folds_of(snapshot, measured, protocol, PROTOCOLS[protocol])
    trials = [unanswerable.plan(snapshot, language, absent, seed) for language in measured] if absent else []
    encoder.warm_up()
    run = _Run(snapshot, encoder, sorted(set(rerank)), mode, progress, keep, _hidden(snapshot, words))
    by_photo = _ask_all(run, folds, queries, seed, 2 * absent * len(trials))
    rows = [_summary(key, run.rows[key], seed) for key in sorted(run.rows, key=partial(_row_order, measured))]
    report = {
        "images": snapshot.image_count,
        "seed": seed,
        "mode": mode,
        "words": words,
        "protocol": protocol,
        "folds": len(folds),
        "results": rows,
        "rsum": _rsums(rows) if by_photo else [],
        "notices": [notice.sentence for notice in measured_notices(measured, encoder.config)],
    }
    if trials:
        deepest = run.depths[-1]
        report["relevance"] = [unanswerable.measure(one, snapshot, encoder, deepest, seed, run.step) for one in trials]
    return report


def _languages_with_captions(snapshot: Snapshot, languages: Iterable[str]) -> list[str]:
    languages = list(dict.fromkeys(languages))
    there = [one for one in snapshot.languages if len(snapshot.caption_ids(one, generated=False))]
    found = [language for language in languages if language in there]
    if not found:
        raise NothingToMeasure(
            f"No captions in {', '.join(languages) or 'no language'}: "
            f"there are captions in {', '.join(there) or 'no language'}."
        )
    return found


def _hidden(snapshot: Snapshot, words: str) -> np.ndarray:
    """The ids of captions that lexical search ignores in every query, int64."""
    return np.empty(0, np.int64) if words == BOTH else snapshot.caption_ids(generated=words == PEOPLE)


def _request(topic: Topic, mode: str, encoded: EncodedQuery | None, always_hidden: np.ndarray) -> RankingRequest:
    """What to rank by for a topic. Lexical search ignores the caption that the topic was taken from."""
    if topic.caption is None:
        return RankingRequest(topic.to, mode, encoded, allowed=topic.allowed)
    words, hidden = [Term("words", topic.caption.text)], np.append(always_hidden, topic.caption.caption_id)
    return RankingRequest(topic.to, mode, encoded, words, topic.allowed, hidden_captions=hidden)


def _ask_all(run: _Run, folds: Sequence[Fold], queries: int | None, seed: int, more: int) -> bool:
    """Ask every topic of every fold; `more` queries will follow. Returns whether there were topics with photos."""
    sentences = [topic for fold in folds for topic in text_topics(run.snapshot, fold, queries, seed)]
    photos = []
    if run.mode == "vector":
        photos = [topics for fold in folds for topics in image_topics(run.snapshot, fold, queries, seed)]
    run.total = len(sentences) + len(photos) + more
    for topic in sentences:
        run.ask_by_sentence(topic)
    for topics in photos:
        run.ask_by_photo(topics)
    return bool(photos)


def _row_order(languages: Sequence[str], key: RowKey) -> tuple[bool, int, int]:
    direction, language, k = key
    return direction != TEXT_TO_IMAGE, languages.index(language), k


def _summary(key: RowKey, row: _Row, seed: int) -> dict:
    direction, language, k = key
    summary: dict = {"direction": direction, "language": language, "rerank": k, "queries": len(row.ranks)}
    for at in KS:
        summary[f"R@{at}"] = round(mean_over_folds(row.ranks, row.folds, at), 2)
        low, high = recall_interval(row.ranks, at, row.groups, seed)
        summary[f"R@{at}_ci"] = [round(low, 2), round(high, 2)]
    if k:
        summary["ceiling"] = round(100 * float(np.mean(row.first_stage_hits)), 2)
    return summary | {"p50_ms": round(median(row.ms), 2), "p95_ms": round(p95(row.ms), 2)}


def _rsums(rows: list[dict]) -> list[dict]:
    sums: dict[tuple[str, int], float] = {}
    for row in rows:
        key = (row["language"], row["rerank"])
        sums[key] = sums.get(key, 0.0) + sum(row[f"R@{at}"] for at in KS)
    return [{"language": language, "rerank": k, "rsum": round(total, 2)} for (language, k), total in sums.items()]
