"""One collection and one encoder behind the pages: opened late, shared by all threads."""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Lock, Thread

from search import Engine, Explanation, Query, SearchResult
from search.engine import snapshot_cache
from storage.snapshot_cache import SnapshotCache
from web.admission import AdmissionControl
from web.errors import KNOWN_ERRORS, ModelFailed, ModelLoading

log = logging.getLogger(__name__)
SEARCHES_AT_ONCE = 8
SEARCHES_WAITING = 8
PATIENCE_S = 20.0


class SearchService:
    """Answers queries on one collection, from the moment that the encoder is loaded and warmed up.

    Args:
        home: a `storage.Home`.
        encoder: an encoder that is ready, or a function without arguments that gives one; that is called in a thread
            of its own, so that the server can answer meanwhile.
        collection: the collection's name; it need not exist yet.
        translate: for sentences in a language that the model doesn't know (see `search.query.translation`).
    """

    def __init__(self, home, encoder, collection: str = "default", translate=None) -> None:
        self.collection_name = collection
        self.gate = AdmissionControl(SEARCHES_AT_ONCE, SEARCHES_WAITING, PATIENCE_S)
        self.on_search: Callable[[dict[str, float]], None] = lambda took_ms: None
        self.on_batch: Callable[[str, int], None] = lambda kind, rows: None
        self._translate = translate
        self.home = home
        self._lock = Lock()
        self._snapshots: SnapshotCache | None = None
        self._engine: Engine | None = None
        self._encoder = None
        self._failure: str | None = None
        if callable(encoder):
            Thread(target=self._load, args=(encoder,), name="load-encoder", daemon=True).start()
        else:
            self._encoder = self._told_of(encoder)

    @property
    def state(self) -> str:
        """ "loading", "ready" or "failed"."""
        if self._failure is not None:
            return "failed"
        return "loading" if self._encoder is None else "ready"

    @property
    def encoder(self):
        """The encoder; raises ModelLoading or ModelFailed where there is none."""
        if self._failure is not None:
            raise ModelFailed(self._failure)
        if self._encoder is None:
            raise ModelLoading("The model is still loading: try again in a few seconds.")
        return self._encoder

    def snapshot(self):
        """The last published version; raises UnknownCollection or EmptyCollection. Needs no encoder."""
        return self._latest().get()

    def show(self, version: int) -> None:
        """Returns once a version that this server has published is searched, so that whoever changed something finds it so."""
        try:
            self._latest().wait_for(version)
        except KNOWN_ERRORS as error:  # it is published all the same, and whoever searches is told
            log.info("Version %d can't be opened yet: %s", version, error)
        except Exception:
            log.exception("Version %d can't be opened", version)

    def search(self, query: Query) -> SearchResult:
        """Answers a query; raises what `Engine.search` raises, ModelLoading, and Busy where too many ask."""
        engine = self._engine_for(self.encoder)
        with self.gate.passing():
            result = engine.search(query)
        self.on_search(result.took_ms)
        return result

    def explain(self, query: Query, image_id: int) -> Explanation:
        """Where in a photo the words of a query are seen; raises what `Engine.explain` raises, ModelLoading, and Busy."""
        engine = self._engine_for(self.encoder)
        with self.gate.passing():
            return engine.explain(query, [image_id])[0]

    def _engine_for(self, encoder) -> Engine:
        snapshots = self._latest()
        with self._lock:
            if self._engine is None:
                collection = self.home.collection(self.collection_name)
                self._engine = Engine(collection, encoder, snapshots, self._translate)
            return self._engine

    def _latest(self) -> SnapshotCache:
        with self._lock:
            if self._snapshots is None:
                self._snapshots = snapshot_cache(self.home.collection(self.collection_name))
            return self._snapshots

    def _load(self, open_encoder) -> None:
        try:
            encoder = open_encoder()
            encoder.warm_up(images=False)
            self._search_once(encoder)
            self._encoder = self._told_of(encoder)
            encoder.warm_up()
        except KNOWN_ERRORS as error:
            log.error("The model can't be loaded: %s", error)
            self._failure = str(error)
        except Exception:
            log.exception("The model can't be loaded")
            self._failure = "The model can't be loaded: the server's log says why."

    def _told_of(self, encoder):
        """The encoder, whose batches `on_batch` hears of from now on."""
        encoder.on_batch = lambda kind, rows: self.on_batch(kind, rows)
        return encoder

    def _search_once(self, encoder) -> None:
        """Opens what a first query would have to wait for."""
        try:
            engine = self._engine_for(encoder)
            for query in (Query(text="0", to="captions"), Query(text="0"), Query(text="0", mode="lexical")):
                engine.search(query)  # in no language: nothing to translate
        except KNOWN_ERRORS as error:  # such as nothing indexed yet: whoever asks is told
            log.info("No search is possible yet: %s", error)
