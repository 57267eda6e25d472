"""What the page of a photo shows of captions that a model wrote, and saves of what people make of them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from encoder.errors import EncoderError
from search import BadQuery
from search.errors import SearchError
from search.written import among_hits, fit_of
from storage import CaptionRecord
from web.errors import BadParameter, Busy, ModelFailed, ModelLoading
from web.pages.translations import interface_language, say
from web.parameters import LONGEST_TEXT
from web.state import state

log = logging.getLogger(__name__)
BEAMS = 4


@dataclass(frozen=True)
class ShownWriting:
    """A caption that was written for this page and that the collection doesn't have.

    Attributes:
        text: The caption.
        language: A code such as "en" or "zh".
        author: Who wrote it, in words.
        log_probability: The natural logarithm of its probability.
    """

    text: str
    language: str
    author: str
    log_probability: float


def author(caption: CaptionRecord | dict[str, Any]) -> str | None:
    """Who wrote a caption, in words of the interface; None if people did."""
    origin = caption["origin"] if isinstance(caption, dict) else caption.origin
    if not CaptionRecord(0, 0, "", "", origin).generated:
        return None
    name = state().service.captions.author(origin)
    return say("written_by_model") if name is None else say("written_by", model=name)


def written_for_page(image_id: int) -> ShownWriting | None:
    """What the model writes of a photo, in the language of the interface if it can; None if it writes nothing now."""
    service = state().service
    if service.state != "ready" or not (languages := service.captions.languages):
        return None
    language = interface_language() if interface_language() in languages else languages[0]
    try:
        written = service.write(image_id, language, BEAMS)
    except (BadQuery, SearchError, EncoderError, Busy) as error:  # the page has more to show
        log.info("No caption of photo %d: %s", image_id, error)
        return None
    name = service.captions.writer.config.name
    return ShownWriting(written.text, language, say("written_by", model=name), written.log_probability)


def with_written(image_id: int, hits: list[dict], written: ShownWriting | None) -> list[dict]:
    """The captions that fit a photo, with the written one among them."""
    if written is None or any(hit["text"] == written.text for hit in hits):
        return hits
    try:
        encoder, snapshot = state().service.encoder, state().service.snapshot()
    except (ModelLoading, ModelFailed):
        return hits
    with state().service.admission.slot():
        cosine, logit = fit_of(snapshot, image_id, written.text, encoder)
    shown = {"text": written.text, "language": written.language, "own": False, "author": written.author}
    config = encoder.config
    return among_hits(hits, shown, cosine, logit, config.first_stage_weight, config.match_calibration)


def sent_caption(text: str) -> str:
    """The caption that a form sent, without blanks around it.

    Raises:
        BadParameter: It is empty or too long.
    """
    text = text.strip()
    if not 0 < len(text) <= LONGEST_TEXT:
        raise BadParameter(f"A caption must have 1 to {LONGEST_TEXT} characters.")
    return text
