"""From a query to ranked, explained hits."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from encoder.api import Encoder
from search.errors import StaleIndex
from search.explanation import Explanation, explain
from search.hit_builder import build_hits
from search.query.cursor import digest_of, read_cursor, write_cursor
from search.query.encoding import encode_query
from search.query.query import Query
from search.query.terms import positive_words
from search.query.translation import Translate
from search.result import SearchResult
from search.result_cache import MOST, ResultCache
from search.retrieval.calibration import relevance
from search.retrieval.lexical import tokens, warm_words
from search.retrieval.pipeline import Pipeline, RankedResults, request_of
from search.retrieval.rerank_budget import LatencyModel
from search.retrieval.timing import Stopwatch
from storage.collection import Collection
from storage.filtering.columns import warm_columns
from storage.filtering.evaluator import ids_where
from storage.snapshot import Snapshot
from storage.snapshot_cache import SnapshotCache

STAGES = ("encode", "filter", "first_stage", "rerank", "lexical", "fold", "fetch")


class Engine:
    """Searches the last published version of one collection. Thread safe.

    Args:
        collection: what to search.
        encoder: what `encoder.open_encoder` returns.
        snapshots: shares an open snapshot of the same collection.
        translate: translates queries in a language that the model was not trained on.
        answers: how many results to cache; 0 for none.
    """

    def __init__(
        self,
        collection: Collection,
        encoder: Encoder,
        snapshots: SnapshotCache | None = None,
        translate: Translate | None = None,
        answers: int = MOST,
    ) -> None:
        self._encoder, self._translate = encoder, translate
        self._snapshots = snapshots or snapshot_cache(collection)
        self._latency = LatencyModel(encoder.match_batches)
        self._results = ResultCache(answers)

    def search(self, query: Query) -> SearchResult:
        """Answer one query.

        Raises:
            StaleIndex: the index was made by other weights.
            StorageError: nothing has been published, or an id in the query is not in the collection.
            BadFilter: the filter names a missing column, or compares a column with values of another kind.
            BadCursor: the cursor does not belong to this query.
            OutdatedCursor: the cursor belongs to another version of the collection.
            TermsCancelOut: the terms of the query add up to nothing.
            EncoderError: the encoder failed.
        """
        watch = Stopwatch(*STAGES)
        snapshot = self._snapshots.get()
        check_weights(snapshot, self._encoder.fingerprint)
        original = query
        if query.cursor is not None:  # its page continues the list that was made by re-ranking just `reranked` candidates
            offset, reranked = read_cursor(query.cursor, query, snapshot.version)
            query = dataclasses.replace(query, cursor=None, offset=offset, rerank=reranked, budget_ms=None)
        key = digest_of(query), query.offset, query.top, snapshot.version, snapshot.model_fingerprint
        result = self._results.get(snapshot, key)
        if result is None:
            result, cacheable = self._answer(query, snapshot, watch)
            if cacheable:
                self._results.put(snapshot, key, result)
        else:
            watch.ms["cached"] = watch.total_ms()
        cursor = None
        if result.more:
            cursor = write_cursor(original, snapshot.version, query.offset + query.top, result.reranked)
        return dataclasses.replace(result, query=query, cursor=cursor, took_ms=watch.ms | {"total": watch.total_ms()})

    def explain(self, query: Query, image_ids: Sequence[int]) -> list[Explanation]:
        """Show where in each of these photos the words of the query are seen.

        Raises:
            NothingToExplain: the query has no sentence to read with a photo.
            NoHeatMap: the model can't say where in a photo it looks.
            SearchError, StorageError, EncoderError: as `search` does.
        """
        snapshot = self._snapshots.get()
        check_weights(snapshot, self._encoder.fingerprint)
        return explain(query, image_ids, snapshot, self._encoder, self._translate)

    def _answer(self, query: Query, snapshot: Snapshot, watch: Stopwatch) -> tuple[SearchResult, bool]:
        """The result without times and cursor, and whether it may be cached.

        A result is not cached if it was cut short by its budget, or if the translator failed.
        """
        with watch.stage("encode"):
            encoded, notices = None, []
            if query.mode != "lexical":
                encoded, notices = encode_query(query, snapshot, self._encoder, self._translate)
        with watch.stage("filter"):
            allowed = None if query.where is None else ids_where(snapshot, query.where, query.target)
        pipeline = Pipeline(request_of(query, encoded, allowed), snapshot, self._encoder, self._latency, watch)
        results = RankedResults(query, pipeline, watch)
        end = query.offset + query.top
        duplicates: dict[int, list[int]] = {}
        if query.fold is None:
            ranking = whole = results.head(end + 1)
        else:
            ranking, duplicates, whole = results.collapsed(end + 1, query.fold)
        with watch.stage("fetch"):
            probabilities = pipeline.match_probabilities(whole)
            page = ranking.page(query.offset, query.top)
            words = {*tokens(positive_words(query.terms))}
            hits = build_hits(page, query.offset, query.to, snapshot, probabilities, duplicates, pipeline.caption_scores, words)
        result = SearchResult(
            query=query,
            version=snapshot.version,
            total=results.total,
            reranked=results.reranked,
            relevance=relevance(max(probabilities.values())) if probabilities else None,
            hits=hits,
            took_ms={},
            notices=notices,
            more=len(ranking) > end,
        )
        return result, not results.cut_short and all(notice.code != "translator_failed" for notice in notices)


def check_weights(snapshot: Snapshot, fingerprint: str) -> None:
    """Check that a snapshot's vectors were made by the weights of this fingerprint.

    Raises:
        StaleIndex: they were made by others.
    """
    if snapshot.model_fingerprint != fingerprint:
        raise StaleIndex(snapshot.model_fingerprint, fingerprint)


def snapshot_cache(collection: Collection) -> SnapshotCache:
    """Cache the collection's last version. A new version warms the words and columns that were in use in the one before."""
    return SnapshotCache(collection, (warm_words, warm_columns))
