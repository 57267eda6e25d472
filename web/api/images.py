"""Adds photos to the collection that is searched, and deletes them."""

from __future__ import annotations

from flask import Blueprint, request

from encoder.inputs.image_formats import HEAD_BYTES
from search import BadQuery
from search.query.query import LARGEST_ID
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
from web import parameters
from web.api import schemas
from web.api.spec import Answer, describe
from web.editing import SentPhoto
from web.errors import BadParameter, Busy, ModelFailed, ModelLoading, NotAdded, ReadOnly, TooLarge
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
