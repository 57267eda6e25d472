"""From a query to ranked, explained hits."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from search.errors import StaleIndex
from search.explanation import Explanation, explain
from search.hit_builder import build_hits
from search.query.cursor import digest_of, read_cursor, write_cursor
from search.query.encoding import encode_query
from search.query.query import Query
from search.query.translation import Translate
from search.result import SearchResult
from search.result_cache import MOST, ResultCache
from search.retrieval.calibration import match_probabilities, relevance
from search.retrieval.lexical import warm_words
from search.retrieval.pipeline import RankedResults
from search.retrieval.ranking import Ranking, fit_scores
from search.retrieval.rerank_budget import LatencyModel
from search.retrieval.timing import Stopwatch
from storage.collection import Collection
from storage.filtering.columns import warm_columns
from storage.filtering.evaluator import ids_where
from storage.snapshot_cache import SnapshotCache

STAGES = ("encode", "filter", "first_stage", "rerank", "lexical", "fold", "fetch")


class Engine:
    """Searches the last published version of one collection. Thread safe.

    Args:
        collection: a `storage.Collection`.
        encoder: what `encoder.open_encoder` gives.
        snapshots: shares an already open snapshot of the same collection.
        translate: turns a sentence into a language that the model knows, where it doesn't know the sentence's own.
        answers: how many answers are kept for those who ask the same again; 0 for none.
    """

    def __init__(
        self,
        collection,
        encoder,
        snapshots: SnapshotCache | None = None,
        translate: Translate | None = None,
        answers: int = MOST,
    ) -> None:
        self._encoder, self._translate = encoder, translate
        self._snapshots = snapshots or snapshot_cache(collection)
        self._pace = LatencyModel(encoder.match_batches)
        self._answers = ResultCache(answers)

    def search(self, query: Query) -> SearchResult:
        """Answers one query.

        Raises:
            StaleIndex: the index was made by other weights.
            StorageError: nothing has been published, or an id in the query is not in the collection.
            BadFilter: the filter names a column that isn't there, or compares it with what it doesn't hold.
            BadCursor, OutdatedCursor: the cursor is not that of this query on this version.
            TermsCancelOut: the parts of the query add up to nothing.
            EncoderError: the encoder failed.
        """
        watch = Stopwatch(*STAGES)
        snapshot = self._snapshots.get()
        check_weights(snapshot, self._encoder.fingerprint)
        asked = query
        if query.cursor is not None:  # the list goes on as that of a query for just what was read
            offset, read = read_cursor(query.cursor, query, snapshot.version)
            query = dataclasses.replace(query, cursor=None, offset=offset, rerank=read, budget_ms=None)
        key = digest_of(query), query.offset, query.top, snapshot.version, snapshot.model_fingerprint
        result = self._answers.get(snapshot, key)
        if result is None:
            result, lasting = self._answer(query, snapshot, watch)
            if lasting:
                self._answers.put(snapshot, key, result)
        else:
            watch.ms["cached"] = watch.total_ms()
        cursor = None
        if result.more:
            cursor = write_cursor(asked, snapshot.version, query.offset + query.top, result.reranked)
        return dataclasses.replace(result, query=query, cursor=cursor, took_ms=watch.ms | {"total": watch.total_ms()})

    def explain(self, query: Query, image_ids: Sequence[int]) -> list[Explanation]:
        """Where in each of these photos the words of the query are seen.

        Raises NothingToExplain where the query has no sentence to read with a photo, NoHeatMap where the model can't say
        where it looks, and what `search` raises.
        """
        snapshot = self._snapshots.get()
        check_weights(snapshot, self._encoder.fingerprint)
        return explain(query, image_ids, snapshot, self._encoder, self._translate)

    def _answer(self, query: Query, snapshot, watch: Stopwatch) -> tuple[SearchResult, bool]:
        """The answer without its times and its cursor, and whether it will be as good when it is asked for again."""
        with watch.stage("encode"):
            probe, notices = None, []
            if query.mode != "lexical":
                probe, notices = encode_query(query, snapshot, self._encoder, self._translate)
        with watch.stage("filter"):
            allowed = None if query.where is None else ids_where(snapshot, query.where, query.to)
        listing = RankedResults(query, probe, snapshot, self._encoder, allowed, watch, self._pace)
        end = query.offset + query.top
        if query.fold is None:
            ranking = whole = listing.head(end + 1)
            duplicates = {}
        else:
            ranking, duplicates, whole = listing.folded(end + 1, query.fold)
        with watch.stage("fetch"):
            chances, page = self._chances(whole), ranking.page(query.offset, query.top)
            hits = build_hits(page, query.offset, query.to, snapshot, chances, duplicates, listing.caption_scores)
        result = SearchResult(
            query=query,
            version=snapshot.version,
            total=listing.total,
            reranked=listing.reranked,
            relevance=relevance(max(chances.values())) if chances else None,
            hits=hits,
            took_ms={},
            notices=notices,
            more=len(ranking) > end,
        )
        return result, not listing.cut_short and all(notice.code != "translator_failed" for notice in notices)

    def _chances(self, ranking: Ranking) -> dict[int, float]:
        """The match probability of each candidate that was re-ranked, by id; none without a calibration."""
        config = self._encoder.config
        read = ~np.isnan(ranking.match_logits)
        if config.match_calibration is None or not read.any():
            return {}
        chances = match_probabilities(fit_scores(ranking, config.first_stage_weight), config.match_calibration)
        return dict(zip(ranking.ids[read].tolist(), chances.tolist(), strict=True))


def check_weights(snapshot, fingerprint: str) -> None:
    """Raises StaleIndex unless the snapshot's vectors were made by the weights of this fingerprint."""
    if snapshot.model_fingerprint != fingerprint:
        raise StaleIndex(snapshot.model_fingerprint, fingerprint)


def snapshot_cache(collection: Collection) -> SnapshotCache:
    """A cache of the collection's last version; a new version takes over words and columns that were read of the last one."""
    return SnapshotCache(collection, (warm_words, warm_columns))
