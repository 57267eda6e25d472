"""From a query to ranked, explained hits."""

from __future__ import annotations

import dataclasses

import numpy as np

from .cursor import read_cursor, write_cursor
from .errors import StaleIndex
from .filters import ids_where
from .hits import hits_of
from .latest import LatestSnapshot
from .listing import Listing
from .probing import probe_query
from .query import Query
from .ranking import Ranking, fit_scores
from .relevance import match_probabilities, relevance
from .result import SearchResult
from .timing import Stopwatch
from .translation import Translate

STAGES = ("encode", "filter", "first_stage", "rerank", "lexical", "fold", "fetch")


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
            BadCursor, OutdatedCursor: the cursor is not that of this query on this version.
            TermsCancelOut: the parts of the query add up to nothing.
            EncoderError: the encoder failed.
        """
        watch = Stopwatch(*STAGES)
        snapshot = self._snapshots.get()
        check_weights(snapshot, self._encoder.fingerprint)
        if query.cursor is not None:
            query = dataclasses.replace(query, cursor=None, offset=read_cursor(query.cursor, query, snapshot.version))
        with watch.stage("encode"):
            probe, notices = None, []
            if query.mode != "lexical":
                probe, notices = probe_query(query, snapshot, self._encoder, self._translate)
        with watch.stage("filter"):
            allowed = None if query.where is None else ids_where(snapshot, query.where, query.to)
        listing = Listing(query, probe, snapshot, self._encoder, allowed, watch)
        end = query.offset + query.top
        if query.fold is None:
            ranking = whole = listing.head(end + 1)
            duplicates = {}
        else:
            ranking, duplicates, whole = listing.folded(end + 1, query.fold)
        with watch.stage("fetch"):
            chances = self._chances(whole)
            hits = hits_of(ranking.page(query.offset, query.top), query.offset, query.to, snapshot, chances, duplicates)
        return SearchResult(
            query=query,
            version=snapshot.version,
            total=listing.total,
            reranked=listing.reranked,
            relevance=relevance(max(chances.values())) if chances else None,
            hits=hits,
            took_ms=watch.ms | {"total": watch.total_ms()},
            notices=notices,
            cursor=write_cursor(query, snapshot.version, end) if len(ranking) > end else None,
        )

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
