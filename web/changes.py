"""Photos are added to the collection that is searched, and deleted from it."""

from __future__ import annotations

import re

from flask import Blueprint, current_app, request

from search.query import LARGEST_ID, LONGEST_TEXT
from storage.errors import UnknownId
from storage.maintenance import delete_images

from .addresses import photo_addresses
from .editing import SentPhoto, editor
from .errors import BadParameter
from .gate import Gate
from .service import SearchService
from .signatures import upload_ending
from .uploads import decoded, sent_bytes

changes = Blueprint("changes", __name__, url_prefix="/api/v1")
MOST_CAPTIONS = 100
LANGUAGE = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,3}")
_changing = Gate(most=1, most_waiting=4, patience=30.0)  # a collection has one writer


@changes.post("/images")
def add() -> tuple[dict, int, dict]:
    """Adds the photo that is sent as `image`, with the sentences that are sent as `caption`, in the language `lang`."""
    service, captions, language = _service(), _captions(), _language()
    adding, encoder = editor(), service.encoder
    content = sent_bytes(request.files.get("image"))
    decoded(content, encoder.config)
    photo = SentPhoto(content, upload_ending(content[:16]), captions, language)
    with _changing.passing():
        added = adding.add(service.collection_name, photo, encoder)
    addresses = photo_addresses(added.image_id)
    answer = {"id": added.image_id, "version": added.version, "existed": added.existed} | addresses
    return answer, 200 if added.existed else 201, {"Location": addresses["image_url"]}


@changes.delete("/images/<int:image_id>")
def delete(image_id: int) -> dict:
    """Deletes a photo and its captions."""
    editor()
    if image_id > LARGEST_ID:
        raise UnknownId("image", image_id)
    with _changing.passing():
        done = delete_images(_service().home, _service().collection_name, [image_id])
    return {"id": image_id, "version": done["version"], "images": done["images"], "captions": done["captions"]}


def _captions() -> list[str]:
    """The sentences in a form that aren't blank; raises BadParameter."""
    sent = [text for text in map(str.strip, request.form.getlist("caption")) if text]
    if len(sent) > MOST_CAPTIONS:
        raise BadParameter(f"There are {len(sent)} captions: {MOST_CAPTIONS} is the most.")
    longest = max(map(len, sent), default=0)
    if longest > LONGEST_TEXT:
        raise BadParameter(f"A caption is {longest} characters long: {LONGEST_TEXT} is the most.")
    return sent


def _language() -> str | None:
    """The captions' language; raises BadParameter."""
    given = request.form.get("lang", "").strip()
    if given and not LANGUAGE.fullmatch(given):
        raise BadParameter(f"lang is {given[:40]!r}: it must be the code of a language, such as en or zh.")
    return given or None


def _service() -> SearchService:
    return current_app.extensions["panoptes"]
