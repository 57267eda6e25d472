"""The model that writes captions for the page and the API: opened once, and its last captions are kept."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING

from search.written import write_caption
from storage.origins import GENERATED
from web.errors import KNOWN_ERRORS, NoCaptioner
from web.hints import message_of

if TYPE_CHECKING:
    from encoder.api import CaptionWriter, WrittenCaption
    from storage.snapshot import Snapshot

log = logging.getLogger(__name__)
MOST_KEPT = 1024


class CaptionService:
    """Writes captions of photos. Thread safe.

    Args:
        open_writer: Opens the captioner, when it is first needed; None: there is none.
    """

    def __init__(self, open_writer: Callable[[], CaptionWriter] | None) -> None:
        self._open_writer = open_writer
        self._writer: CaptionWriter | None = None
        self._problem = ""
        self._lock = Lock()
        self._kept: OrderedDict[tuple[str, str, int], WrittenCaption] = OrderedDict()

    @property
    def writer(self) -> CaptionWriter:
        """The captioner.

        Raises:
            NoCaptioner: There is none, or it can't be opened.
        """
        self.open()
        if self._writer is None:
            raise NoCaptioner(self._problem)
        return self._writer

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages that it writes; none if there is no captioner."""
        try:
            return tuple(self.writer.languages)
        except NoCaptioner:
            return ()

    def open(self) -> None:
        """Open the captioner, if there is one and it isn't open. A second call does nothing."""
        with self._lock:
            if self._open_writer is None:
                return
            opened, self._open_writer = self._open_writer, None
            try:
                self._writer = opened()
            except KNOWN_ERRORS as error:
                log.info("No captions are written: %s", error)
                self._problem = message_of(error).rstrip(".")
            except Exception:
                log.exception("The captioner can't be opened")
                self._problem = "it can't be opened: the server's log says why"

    def write(self, snapshot: Snapshot, image_id: int, language: str, beams: int) -> WrittenCaption:
        """Write a caption of a photo, or give the one that was written of its content before.

        Raises:
            NoCaptioner: There is no captioner.
            Exception: What `search.written.write_caption` raises.
        """
        writer = self.writer
        key = snapshot.images([image_id])[0].sha256, language, beams
        with self._lock:
            if (kept := self._kept.get(key)) is not None:
                return kept
        written = write_caption(snapshot, image_id, writer, language, beams)
        with self._lock:
            self._kept[key] = written
            while len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        return written

    def author(self, origin: str) -> str | None:
        """The name of the model that wrote the captions of an origin; None if it is not the one that is here."""
        here = self._writer is not None and origin == GENERATED + self._writer.fingerprint
        return self._writer.config.name if here and self._writer is not None else None
