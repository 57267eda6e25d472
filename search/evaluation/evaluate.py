"""How often the right answer is found, and how long a query takes, on a collection whose captions know their photos."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from search.errors import NothingToMeasure
from search.evaluation import unanswerable
from search.evaluation.metrics import best_relevant_rank, mean_over_folds, median, p95, recall_interval
from search.evaluation.protocols import PROTOCOLS
from search.evaluation.topics import TEXT_TO_IMAGE, Topic, folds_of, image_topics, text_topics
from search.query.encoding import EncodedQuery, encode_photo, encode_sentence
from search.query.query_photo import read_stored
from search.query.terms import Term
from search.query.translation import measured
from search.retrieval.cross_encoder import rerank as rerank_stage
from search.retrieval.first_stage import retrieve
from search.retrieval.lexical import Found, words_of
from search.retrieval.ranking import Ranking, fuse, lexical_ranking
from search.retrieval.timing import Stopwatch

KS = (1, 5, 10)
DEEPEST_KEPT = 100


@dataclass(frozen=True, eq=False)
class Answer:
    """What one question got: the first DEEPEST_KEPT of the ranking, best first, and the rank of the best right answer."""

    question: Topic
    rerank: int
    ids: np.ndarray
    scores: np.ndarray
    rank: float


Progress = Callable[[int, int], None]
Keep = Callable[[Answer], None]


@dataclass
class _Row:
    """What was measured for one direction, language and rerank K: entry i of each list is of query i."""

    ranks: list[float] = field(default_factory=list)
    first_stage_hits: list[bool] = field(default_factory=list)
    groups: list[int] = field(default_factory=list)
    folds: list[int] = field(default_factory=list)
    ms: list[float] = field(default_factory=list)


class _Run:
    """One evaluation under way: the rows so far, and the queries that are left."""

    def __init__(
        self, snapshot, encoder, depths: Sequence[int], mode: str, progress: Progress | None, keep: Keep | None
    ) -> None:
        self.snapshot = snapshot
        self.encoder = encoder
        self.depths = depths
        self.rows: dict[tuple[str, str, int], _Row] = {}
        self.done = self.total = 0
        self.mode, self._progress, self._keep = mode, progress, keep
        self._words = words_of(snapshot) if mode != "vector" else None

    def ask_by_sentence(self, question: Topic) -> None:
        """Encodes the caption, and asks."""
        watch = Stopwatch()
        probe = encode_sentence(self.encoder, question.caption.text) if self.mode != "lexical" else None
        self._ask(question, probe, watch.total_ms())
        self.step()

    def ask_by_photo(self, questions: list[Topic]) -> None:
        """Encodes the photo that they share, and asks them all."""
        watch = Stopwatch()
        record = self.snapshot.images([questions[0].image_id])[0]
        probe = encode_photo(self.encoder, read_stored(record, self.encoder.config))
        encode_ms = watch.total_ms()
        for question in questions:
            self._ask(question, probe, encode_ms)
        self.step()

    def step(self) -> None:
        """One query is done."""
        self.done += 1
        if self._progress is not None:
            self._progress(self.done, self.total)

    def _ask(self, question: Topic, probe: EncodedQuery | None, encode_ms: float) -> None:
        """Retrieves once, then re-ranks anew for each K."""
        watch = Stopwatch()
        lexical = self._by_words(question)
        first = lexical_ranking(lexical.ids, lexical.scores) if self.mode == "lexical" else self._first_stage(question, probe)
        shared_ms = encode_ms + watch.total_ms()
        for k in self.depths:
            watch = Stopwatch()
            ranking = first
            if self.mode != "lexical":
                ranking = rerank_stage(first, probe, question.to, k, self.snapshot, self.encoder)
            if self.mode == "hybrid":
                ranking = fuse(ranking, lexical.ids, lexical.scores, lexical.speaking)
            self._note(question, k, first, ranking, shared_ms + watch.total_ms())

    def _first_stage(self, question: Topic, probe: EncodedQuery) -> Ranking:
        index = self.snapshot.image_index if question.to == "images" else self.snapshot.caption_index
        count = index.count if question.allowed is None else len(question.allowed)
        deep = DEEPEST_KEPT if self._keep is not None else max(KS) + len(question.relevant)
        depth = count if self.mode == "hybrid" else min(max(*self.depths, deep), count)
        return retrieve(index, probe.vector, depth, question.allowed)

    def _by_words(self, question: Topic) -> Found | None:
        """What the words of the question find where the caption that it was taken from is not there to be found."""
        if self._words is None:
            return None
        terms, hidden = [Term("words", question.caption.text)], [question.caption.caption_id]
        return self._words.ranking(terms, "images", question.allowed, hidden=hidden)

    def _note(self, question: Topic, k: int, first: Ranking, ranking: Ranking, ms: float) -> None:
        rank = best_relevant_rank(ranking.scores, np.isin(ranking.ids, question.relevant))
        row = self.rows.setdefault((question.direction, question.language, k), _Row())
        row.ms.append(ms)
        row.ranks.append(rank)
        row.first_stage_hits.append(bool(np.isin(first.ids[:k], question.relevant).any()))
        row.groups.append(question.image_id)
        row.folds.append(question.fold)
        if self._keep is not None:
            self._keep(Answer(question, k, ranking.ids[:DEEPEST_KEPT], ranking.scores[:DEEPEST_KEPT], rank))


def evaluate(
    snapshot,
    encoder,
    rerank: Iterable[int] = (0, 32),
    languages: Iterable[str] = ("en", "zh"),
    queries: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    absent: int = 0,
    mode: str = "vector",
    protocol: str = "all",
    keep: Keep | None = None,
) -> dict:
    """Asks for every photo by each of its captions, and for the captions of every photo, one query at a time.

    A text query is right where its own photo is among the first k of all photos; an image query where any caption of
    the photo is among the first k of all captions of that language. A tie counts against the system, and so does a
    right answer that lies deeper than what was retrieved.

    Args:
        snapshot: a `storage.Snapshot` whose photos still lie where they were, for image queries are encoded anew.
        rerank: the numbers of candidates to re-rank, each a row; 0 for the first stage alone.
        languages: a language without captions gives no row.
        queries: a seeded sample of so many queries a row; all where None.
        progress: called as `progress(done, total)` after each query.
        absent: how many photos a language to leave out of the index, to see whether "nothing found" can be told.
        mode: "vector", "lexical" or "hybrid". With words, the caption that a query was taken from is hidden from the lexical
            index, and only text to image is measured, for a photo has no words.
        protocol: a key of `protocols.PROTOCOLS`.
        keep: called with the Answer of each query and K.

    Raises NothingToMeasure where no caption is in any of `languages`, TooFewPhotos where so many can't be left out, and
    TooFewForProtocol.

    Returns:
        `{"images", "seed", "mode", "protocol", "folds", "results": [row, ...], "rsum": [...], "notices": [...]}`. A row has
        `direction`, `language`, `rerank`, `queries`, and in percent `R@1`, `R@5`, `R@10` (the mean over folds) with a 95 %
        bootstrap interval each (`R@1_ci`, ...) and `ceiling`, the share of queries that re-ranking could at best put first;
        `p50_ms` and `p95_ms` are of a whole query: encode, first stage, re-rank. `rsum` adds up the six recalls of a language
        and K, where both directions were measured; `notices` are sentences, such as that the model doesn't know a language.
        With `absent` there is also `"relevance"`, for each language what `absence.measure` gives at the largest of `rerank`.
    """
    languages = list(dict.fromkeys(languages))
    spoken = [language for language in languages if language in snapshot.languages]
    if not spoken:
        raise NothingToMeasure(
            f"No captions in {', '.join(languages) or 'no language'}: "
            f"there are captions in {', '.join(snapshot.languages) or 'no language'}."
        )
    folds = folds_of(snapshot, spoken, protocol, PROTOCOLS[protocol])
    trials = [unanswerable.plan(snapshot, language, absent, seed) for language in spoken] if absent else []
    encoder.warm_up()
    run = _Run(snapshot, encoder, sorted(set(rerank)), mode, progress, keep)
    by_photo = _ask_all(run, folds, queries, seed, 2 * absent * len(trials))
    rows = [_summary(key, run.rows[key], seed) for key in sorted(run.rows, key=_row_order(spoken))]
    report = {
        "images": snapshot.image_count,
        "seed": seed,
        "mode": mode,
        "protocol": protocol,
        "folds": len(folds),
        "results": rows,
        "rsum": _rsums(rows) if by_photo else [],
        "notices": [notice.sentence for notice in measured(spoken, encoder.config)],
    }
    if trials:
        deepest = run.depths[-1]
        report["relevance"] = [unanswerable.measure(one, snapshot, encoder, deepest, seed, run.step) for one in trials]
    return report


def _ask_all(run: _Run, folds, queries: int | None, seed: int, more: int) -> bool:
    """Asks every question of every fold, of which `more` others will follow; whether any was asked by a photo."""
    sentences = [one for fold in folds for one in text_topics(run.snapshot, fold, queries, seed)]
    by_photo = run.mode == "vector"
    photos = [one for fold in folds for one in image_topics(run.snapshot, fold, queries, seed)] if by_photo else []
    run.total = len(sentences) + len(photos) + more
    for question in sentences:
        run.ask_by_sentence(question)
    for questions in photos:
        run.ask_by_photo(questions)
    return bool(photos)


def _row_order(languages: Iterable[str]) -> Callable[[tuple[str, str, int]], tuple]:
    place = {language: i for i, language in enumerate(languages)}
    return lambda key: (key[0] != TEXT_TO_IMAGE, place[key[1]], key[2])


def _summary(key: tuple[str, str, int], row: _Row, seed: int) -> dict:
    direction, language, k = key
    summary = {"direction": direction, "language": language, "rerank": k, "queries": len(row.ranks)}
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
