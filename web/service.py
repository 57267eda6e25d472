"""One collection and one encoder, which all pages share. The encoder is opened in the background."""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Lock, Thread
from typing import TYPE_CHECKING

from search import Engine, Explanation, Query, SearchResult
from search.engine import snapshot_cache
from storage.snapshot_cache import SnapshotCache
from web.admission import AdmissionControl
from web.caption_service import CaptionService
from web.errors import KNOWN_ERRORS, ModelFailed, ModelLoading
from web.hints import message_of

if TYPE_CHECKING:
    from encoder.api import CaptionWriter, Encoder, WrittenCaption
    from search.query.translation import Translate
    from storage import Home
    from storage.snapshot import Snapshot

log = logging.getLogger(__name__)
SEARCHES_AT_ONCE = 8
SEARCHES_WAITING = 8
QUEUE_TIMEOUT_S = 20.0


class SearchService:
    """Answers queries on one collection, as soon as the encoder is opened and warmed up. Thread safe.

    Args:
        home: The home that has the collection.
        encoder: An encoder that is ready, or a function that opens one. The function runs in a thread of its own, so that the
            server can answer meanwhile.
        collection: The collection's name; it need not exist yet.
        translate: Translates queries in a language that the model doesn't know (see `search.query.translation`).
        captioner: Opens the model that writes captions; None: there is none.

    Attributes:
        admission: Bounds how many searches run at once.
        on_search: Called after each search with milliseconds by stage.
        on_batch: Called after each batch of the encoder with its kind and the number of rows.
    """

    def __init__(
        self,
        home: Home,
        encoder: Encoder | Callable[[], Encoder],
        collection: str = "default",
        translate: Translate | None = None,
        captioner: Callable[[], CaptionWriter] | None = None,
    ) -> None:
        self.home = home
        self.collection_name = collection
        self.admission = AdmissionControl(SEARCHES_AT_ONCE, SEARCHES_WAITING, QUEUE_TIMEOUT_S)
        self.on_search: Callable[[dict[str, float]], None] = lambda took_ms: None
        self.on_batch: Callable[[str, int], None] = lambda kind, rows: None
        self._translate = translate
        self._lock = Lock()
        self._snapshots: SnapshotCache | None = None
        self._engine: Engine | None = None
        self._encoder: Encoder | None = None
        self._failure: str | None = None
        self.captions = CaptionService(captioner)
        if callable(encoder):
            Thread(target=self._load, args=(encoder,), name="load-encoder", daemon=True).start()
        else:
            self._encoder = self._with_batch_hook(encoder)

    @property
    def state(self) -> str:
        """ "loading", "ready" or "failed"."""
        if self._failure is not None:
            return "failed"
        return "loading" if self._encoder is None else "ready"

    @property
    def encoder(self) -> Encoder:
        """The encoder.

        Raises:
            ModelLoading: It is not ready yet.
            ModelFailed: It could not be opened.
        """
        if self._failure is not None:
            raise ModelFailed(self._failure)
        if self._encoder is None:
            raise ModelLoading("The model is still loading: try again in a few seconds.")
        return self._encoder

    def snapshot(self) -> Snapshot:
        """The last published version. Needs no encoder.

        Raises:
            UnknownCollection, EmptyCollection: Nothing is published.
        """
        return self._snapshot_cache().get()

    def wait_for_version(self, version: int) -> None:
        """Wait until searches use a version that this server has published, so that who changed something finds the change."""
        try:
            self._snapshot_cache().wait_for(version)
        except KNOWN_ERRORS as error:  # it is published all the same, and whoever searches is told
            log.info("Version %d can't be opened yet: %s", version, error)
        except Exception:
            log.exception("Version %d can't be opened", version)

    def search(self, query: Query) -> SearchResult:
        """Answer a query.

        Raises:
            ModelLoading, ModelFailed: See `encoder`.
            Busy: Too many searches wait.
            Exception: What `Engine.search` raises.
        """
        engine = self._engine_for(self.encoder)
        with self.admission.slot():
            result = engine.search(query)
        self.on_search(result.took_ms)
        return result

    def explain(self, query: Query, image_id: int) -> Explanation:
        """Find where in a photo the words of a query are seen.

        Raises:
            ModelLoading, ModelFailed: See `encoder`.
            Busy: Too many searches wait.
            Exception: What `Engine.explain` raises.
        """
        engine = self._engine_for(self.encoder)
        with self.admission.slot():
            return engine.explain(query, [image_id])[0]

    def write(self, image_id: int, language: str, beams: int) -> WrittenCaption:
        """Write a caption of a photo, or give the one that was written of its content before.

        Raises:
            NoCaptioner: No model is there that writes.
            UnknownId, UnknownCollection, EmptyCollection: There is no such photo.
            Busy: Too many ask.
            Exception: What `search.written.write_caption` raises.
        """
        with self.admission.slot():
            return self.captions.write(self.snapshot(), image_id, language, beams)

    def _engine_for(self, encoder: Encoder) -> Engine:
        snapshots = self._snapshot_cache()
        with self._lock:
            if self._engine is None:
                collection = self.home.collection(self.collection_name)
                self._engine = Engine(collection, encoder, snapshots, self._translate)
            return self._engine

    def _snapshot_cache(self) -> SnapshotCache:
        with self._lock:
            if self._snapshots is None:
                self._snapshots = snapshot_cache(self.home.collection(self.collection_name))
            return self._snapshots

    def _load(self, open_encoder: Callable[[], Encoder]) -> None:
        """Open the encoder and warm up what sentences need; then let searches in, and warm up what photos need."""
        try:
            encoder = open_encoder()
            encoder.warm_up(images=False)
            self._search_once(encoder)
            self._encoder = self._with_batch_hook(encoder)
            encoder.warm_up()
            self.captions.open()
        except KNOWN_ERRORS as error:
            log.error("The model can't be loaded: %s", error)
            self._failure = message_of(error)
        except Exception:
            log.exception("The model can't be loaded")
            self._failure = "The model can't be loaded: the server's log says why."

    def _with_batch_hook(self, encoder: Encoder) -> Encoder:
        """The encoder, which calls `on_batch` from now on."""

        def call(kind: str, rows: int) -> None:
            self.on_batch(kind, rows)

        encoder.on_batch = call
        return encoder

    def _search_once(self, encoder: Encoder) -> None:
        """Open what the first query would have to wait for."""
        try:
            engine = self._engine_for(encoder)
            for query in (Query(text="0", to="captions"), Query(text="0"), Query(text="0", mode="lexical")):
                engine.search(query)  # in no language: nothing to translate
        except KNOWN_ERRORS as error:  # such as nothing indexed yet: whoever asks is told
            log.info("No search is possible yet: %s", error)
