"""Adds photos to the collection that is searched, and deletes them."""

from __future__ import annotations

import msgspec
from flask import Blueprint, request

from encoder.errors import UnwrittenLanguage
from encoder.inputs.image_formats import HEAD_BYTES
from search import BadQuery
from search.query.query import LARGEST_ID
from storage import CaptionRecord
from storage.errors import (
    CollectionBusy,
    EmptyCollection,
    OtherWeights,
    UnfinishedRun,
    UnknownCollection,
    UnknownId,
    UnusableHome,
)
from storage.maintenance import delete_images
from storage.origins import GENERATED
from web import parameters
from web.api import schemas
from web.api.spec import Answer, describe
from web.editing import SentPhoto
from web.errors import BadParameter, Busy, ModelFailed, ModelLoading, NoCaptioner, NotAdded, ReadOnly, TooLarge
from web.image_types import upload_ending
from web.photo_urls import photo_urls
from web.state import state
from web.uploads import sent_file

images = Blueprint("changes", __name__, url_prefix="/api/v1")  # metrics and the log have this name
WRITE_PROBLEMS = (ReadOnly, Busy, CollectionBusy, UnfinishedRun, UnusableHome)


@images.post("/images")
@describe(
    Answer(201, "It was added", schemas.Added),
    Answer(200, "Its content was there already; captions that are new were added to it", schemas.Added),
    form=(parameters.IMAGE, parameters.CAPTIONS, parameters.LANGUAGE),
    problems=(*WRITE_PROBLEMS, BadParameter, BadQuery, NotAdded, TooLarge, ModelLoading, ModelFailed, OtherWeights),
    operation="addPhoto",
)
def add() -> tuple[dict, int, dict]:
    """Add a photo to the collection that is searched, with captions."""
    service, editor = state().service, state().required_editor()
    captions, language = parameters.CAPTIONS.read(request.form), parameters.LANGUAGE.read(request.form)
    file, encoder = sent_file(request.files.get(parameters.IMAGE.name)), service.encoder
    state().reader.decode(file, encoder.config)
    file.seek(0)
    photo = SentPhoto(file, upload_ending(file.read(HEAD_BYTES)), captions, language)
    with state().change_admission.slot():
        added = editor.add(service.collection_name, photo, encoder)
        service.wait_for_version(added.version)
    urls = photo_urls(added.image_id)
    answer = {"id": added.image_id, "version": added.version, "existed": added.existed} | urls
    return answer, 200 if added.existed else 201, {"Location": urls["image_url"]}


@images.post("/images/<int:image_id>/captions:generate")
@describe(
    Answer(201, "It was written, and the collection has it", schemas.Written),
    Answer(200, "The collection had it before, or need not keep it", schemas.Written),
    takes=(parameters.PHOTO_IN_PATH,),
    body=schemas.Writing,
    problems=(
        *WRITE_PROBLEMS,
        BadParameter,
        BadQuery,
        NoCaptioner,
        NotAdded,
        UnwrittenLanguage,
        UnknownId,
        UnknownCollection,
        EmptyCollection,
        ModelLoading,
        ModelFailed,
        OtherWeights,
    ),
    operation="generateCaption",
)
def generate(image_id: int) -> tuple[dict, int]:
    """Have a model write a caption of a photo, and keep it among the photo's captions, marked by its origin."""
    service, wanted = state().service, _wanted_caption()
    if image_id > LARGEST_ID:
        raise UnknownId("image", image_id)
    if not wanted.store:
        writer, written = service.captions.writer, service.write(image_id, wanted.language, wanted.beams)
        caption = CaptionRecord(0, image_id, wanted.language, written.text, GENERATED + writer.fingerprint)
        return _written_json(caption, written.log_probability, service.snapshot().version), 200
    editor, encoder, writer = state().required_editor(), service.encoder, service.captions.writer
    with state().change_admission.slot():
        stored = editor.write_caption(service.collection_name, image_id, writer, wanted.language, wanted.beams, encoder)
        service.wait_for_version(stored.version)
    answer = _written_json(stored.caption, stored.caption.log_probability, stored.version)
    return answer, 200 if stored.existed else 201


def _wanted_caption() -> schemas.Writing:
    """What was sent as JSON; nothing is the usual.

    Raises:
        BadParameter: It is something else.
    """
    if not request.get_data(cache=True):
        return schemas.Writing()
    try:
        return msgspec.json.decode(request.get_data(cache=True), type=schemas.Writing)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        example = 'send JSON such as {"language": "en", "beams": 4}'
        raise BadParameter(f"{' '.join(str(error).split())[:200]}: {example}.") from error


def _written_json(caption: CaptionRecord, log_probability: float | None, version: int) -> dict:
    return {
        "id": caption.caption_id or None,
        "image_id": caption.image_id,
        "text": caption.text,
        "language": caption.language,
        "origin": caption.origin,
        "log_probability": log_probability,
        "model": state().service.captions.writer.config.name,
        "version": version,
    }


@images.delete("/images/<int:image_id>")
@describe(
    Answer(200, "It is not found any more", schemas.Deleted),
    takes=(parameters.PHOTO_IN_PATH,),
    problems=(*WRITE_PROBLEMS, UnknownId, UnknownCollection, EmptyCollection),
    operation="deletePhoto",
)
def delete(image_id: int) -> dict:
    """Delete a photo and its captions from the collection that is searched."""
    service, _ = state().service, state().required_editor()
    if image_id > LARGEST_ID:
        raise UnknownId("image", image_id)
    with state().change_admission.slot():
        deleted = delete_images(service.home, service.collection_name, [image_id])
        service.wait_for_version(deleted["version"])
    return {"id": image_id, "version": deleted["version"], "images": deleted["images"], "captions": deleted["captions"]}
