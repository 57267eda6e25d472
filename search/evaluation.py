"""How often the right answer is found, and how long a query takes, on a collection whose captions know their photos."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from . import absence
from .errors import NothingToMeasure
from .metrics import best_relevant_rank, median, p95, recall_at_k, recall_interval
from .photos import read_indexed
from .sampling import captions_by_photo, sample
from .stages import Probe, probe_image, probe_text, retrieve
from .stages import rerank as rerank_stage
from .timing import Stopwatch
from .translation import measured

KS = (1, 5, 10)
Progress = Callable[[int, int], None]


@dataclass
class _Row:
    """What was measured for one direction, language and rerank K: entry i of each list is of query i."""

    ranks: list[float] = field(default_factory=list)
    first_stage_hits: list[bool] = field(default_factory=list)
    groups: list[int] = field(default_factory=list)
    ms: list[float] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class _Question:
    """One query with its right answers: `relevant` are ids of what is searched, of which `allowed` may be found."""

    direction: str
    language: str
    probe: Probe
    encode_ms: float
    relevant: np.ndarray
    image_id: int
    allowed: np.ndarray | None = None


class _Run:
    """One evaluation under way: the rows so far, and the queries that are left."""

    def __init__(self, snapshot, encoder, depths: Sequence[int], progress: Progress | None) -> None:
        self.snapshot = snapshot
        self.encoder = encoder
        self.depths = depths
        self.rows: dict[tuple[str, str, int], _Row] = {}
        self.done = self.total = 0
        self._progress = progress

    def step(self) -> None:
        """One query is done."""
        self.done += 1
        if self._progress is not None:
            self._progress(self.done, self.total)

    def ask(self, question: _Question) -> None:
        """Retrieves once, then re-ranks anew for each K."""
        to = "images" if question.direction == "text_to_image" else "captions"
        index = self.snapshot.image_index if to == "images" else self.snapshot.caption_index
        depth = min(max(*self.depths, max(KS) + len(question.relevant)), index.count)
        watch = Stopwatch()
        first = retrieve(index, question.probe.vector, depth, question.allowed)
        shared_ms = question.encode_ms + watch.total_ms()
        for k in self.depths:
            watch = Stopwatch()
            ranking = rerank_stage(first, question.probe, to, k, self.snapshot, self.encoder)
            row = self.rows.setdefault((question.direction, question.language, k), _Row())
            row.ms.append(shared_ms + watch.total_ms())
            row.ranks.append(best_relevant_rank(ranking.scores, np.isin(ranking.ids, question.relevant)))
            row.first_stage_hits.append(bool(np.isin(first.ids[:k], question.relevant).any()))
            row.groups.append(question.image_id)


def evaluate(
    snapshot,
    encoder,
    rerank: Iterable[int] = (0, 32),
    languages: Iterable[str] = ("en", "zh"),
    queries: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    absent: int = 0,
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

    Raises NothingToMeasure where no caption is in any of `languages`, and TooFewPhotos where so many can't be left out.

    Returns:
        `{"images", "seed", "results": [row, ...], "rsum": [...], "notices": [...]}`. A row has `direction`, `language`,
        `rerank`, `queries`, and in percent `R@1`, `R@5`, `R@10` with a 95 % bootstrap interval each (`R@1_ci`, ...) and
        `ceiling`, the share of queries that re-ranking could at best put first; `p50_ms` and `p95_ms` are of a whole
        query: encode, first stage, re-rank. `rsum` adds up the six recalls of a language and K; `notices` are sentences,
        such as that the model doesn't know a language. With `absent` there is also `"relevance"`, for each language what
        `absence.measure` gives at the largest of `rerank`.
    """
    languages = list(dict.fromkeys(languages))
    if not set(languages) & set(snapshot.languages):
        raise NothingToMeasure(f"No captions in {', '.join(languages) or 'no language'}: "
                               f"there are captions in {', '.join(snapshot.languages) or 'no language'}.")
    spoken = [language for language in languages if language in snapshot.languages]
    trials = [absence.plan(snapshot, language, absent, seed) for language in spoken] if absent else []
    encoder.warm_up()
    run = _Run(snapshot, encoder, sorted(set(rerank)), progress)
    sentences = {language: sample(snapshot.caption_ids(language), queries, seed) for language in languages}
    photos = {language: _captioned(snapshot, language, queries, seed) for language in sentences}
    to_show = sorted(set().union(*(ids.tolist() for ids in photos.values())))
    run.total = sum(len(ids) for ids in sentences.values()) + len(to_show) + 2 * absent * len(trials)
    for language, caption_ids in sentences.items():
        _text_to_image(run, language, caption_ids)
    _image_to_text(run, photos, to_show)
    rows = [_summary(key, run.rows[key], seed) for key in sorted(run.rows, key=_row_order(sentences))]
    report = {"images": snapshot.image_count, "seed": seed, "results": rows, "rsum": _rsums(rows),
              "notices": [notice.sentence for notice in measured(spoken, encoder.config)]}
    if trials:
        deepest = run.depths[-1]
        report["relevance"] = [absence.measure(one, snapshot, encoder, deepest, seed, run.step) for one in trials]
    return report


def _captioned(snapshot, language: str, limit: int | None, seed: int) -> np.ndarray:
    return sample(np.array(list(captions_by_photo(snapshot, language)), np.int64), limit, seed)


def _text_to_image(run: _Run, language: str, caption_ids: np.ndarray) -> None:
    for caption in run.snapshot.captions(caption_ids):
        watch = Stopwatch()
        probe = probe_text(run.encoder, caption.text)
        relevant = np.array([caption.image_id])
        run.ask(_Question("text_to_image", language, probe, watch.total_ms(), relevant, caption.image_id))
        run.step()


def _image_to_text(run: _Run, photos: dict[str, np.ndarray], to_show: list[int]) -> None:
    allowed = {language: run.snapshot.caption_ids(language) for language in photos}
    asked = {language: set(ids.tolist()) for language, ids in photos.items()}
    for image_id in to_show:
        watch = Stopwatch()
        record = run.snapshot.images([image_id])[0]
        probe = probe_image(run.encoder, read_indexed(record.uri, run.encoder.config))
        encode_ms = watch.total_ms()
        captions = run.snapshot.captions_of([image_id])[image_id]
        for language in (one for one in photos if image_id in asked[one]):
            relevant = np.array([c.caption_id for c in captions if c.language == language])
            run.ask(_Question("image_to_text", language, probe, encode_ms, relevant, image_id, allowed[language]))
        run.step()


def _row_order(languages: Iterable[str]) -> Callable[[tuple[str, str, int]], tuple]:
    place = {language: i for i, language in enumerate(languages)}
    return lambda key: (key[0] != "text_to_image", place[key[1]], key[2])


def _summary(key: tuple[str, str, int], row: _Row, seed: int) -> dict:
    direction, language, k = key
    summary = {"direction": direction, "language": language, "rerank": k, "queries": len(row.ranks)}
    for at in KS:
        summary[f"R@{at}"] = round(recall_at_k(row.ranks, at), 2)
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
