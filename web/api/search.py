"""The HTTP API, version 1: searching, and what there is to search. The answers are those of `search --json`."""

from __future__ import annotations

from dataclasses import asdict

from flask import Blueprint, request

from search import BadQuery, EmptyQuery, Query, StaleIndex
from search.errors import OutdatedCursor
from storage.errors import BadFilter, EmptyCollection, InvalidName, UnknownCollection, UnknownId
from web import parameters
from web.api import schemas
from web.api.spec import Answer, describe
from web.errors import BadParameter, Busy, ModelFailed, ModelLoading, TooLarge
from web.parameters import api_options
from web.photo_urls import with_photo_urls
from web.service import SearchService
from web.state import state

api = Blueprint("api", __name__, url_prefix="/api/v1")

NOT_READY = (UnknownCollection, EmptyCollection, ModelLoading, ModelFailed, StaleIndex)
SEARCH_PROBLEMS = (BadParameter, BadQuery, BadFilter, UnknownId, OutdatedCursor, Busy, *NOT_READY)
HITS = Answer(200, "Hits, best first", schemas.Result)


@api.get("/search")
@describe(HITS, takes=(parameters.Q, parameters.IMAGE_ID, *parameters.OPTIONS), problems=SEARCH_PROBLEMS)
def search() -> dict:
    """Search by a sentence, by a photo of the collection, or by both added up."""
    values = request.args
    image_id = parameters.IMAGE_ID.read(values)
    text = values.get(parameters.Q.name)
    if image_id is None and text is None:
        raise EmptyQuery("Nothing to search for: give a sentence as q, or the id of a photo as image_id.")
    query = Query(text=text, image_id=image_id, **api_options(values))
    return with_photo_urls(state().service.search(query).as_json())


@api.post("/search")
@describe(
    HITS,
    takes=parameters.OPTIONS,
    form=(parameters.IMAGE, parameters.ADDED_WORDS, parameters.ADDED_PHOTO),
    problems=(*SEARCH_PROBLEMS, TooLarge),
)
def search_by_photo() -> dict:
    """Search by a photo that is sent; the parameters may be form fields as well."""
    options = api_options(request.values)
    photo = state().reader.read(request.files.get(parameters.IMAGE.name), state().service.encoder.config)
    text = parameters.ADDED_WORDS.read(request.values)
    image_id = parameters.ADDED_PHOTO.read(request.values)
    query = Query(text=text, image=photo.prepared, image_id=image_id, label=photo.name, **options)
    return with_photo_urls(state().service.search(query).as_json())


@api.get("/explain")
@describe(
    Answer(200, "Heat maps", schemas.Explanation),
    takes=(parameters.SENTENCE, parameters.PHOTO_ID),
    problems=(BadParameter, BadQuery, UnknownId, Busy, *NOT_READY),
)
def explain() -> dict:
    """Where in a photo the words of a sentence are seen."""
    query = Query(text=request.args.get(parameters.SENTENCE.name))
    image_id = parameters.PHOTO_ID.read(request.args)
    if image_id is None:
        raise BadParameter("There is no photo to explain: give its id.")
    return {"query": query.text} | state().service.explain(query, image_id).as_json()


@api.get("/status")
@describe(Answer(200, "The state of things", schemas.Status))
def status() -> dict:
    """What is indexed, and whether the model is ready."""
    service = state().service
    model = {"state": service.state, "name": None, "fingerprint": None}
    if service.state == "ready":
        model |= {"name": service.encoder.config.name, "fingerprint": service.encoder.fingerprint}
    return {"collection": service.collection_name, "model": model} | _contents(service)


@api.get("/collections")
@describe(Answer(200, "All of them", schemas.Collections))
def collections() -> dict:
    """The collections there are, and which of them is searched here."""
    home, searched = state().service.home, state().service.collection_name
    return {"collections": [
        {"name": name, "version": home.collection(name).manifest.version, "searched": name == searched}
        for name in home.collection_names()
    ]}  # fmt: skip


@api.get("/collections/<name>/versions")
@describe(
    Answer(200, "Newest first", schemas.Versions),
    takes=(parameters.NAME_IN_PATH,),
    problems=(UnknownCollection, InvalidName),
)
def versions(name: str) -> dict:
    """The published versions of a collection."""
    state().service.home.collection(name)
    return {"collection": name, "versions": [asdict(one) for one in state().service.home.catalog.versions(name)]}


@api.get("/collections/<name>/runs")
@describe(
    Answer(200, "Newest first", schemas.Runs),
    takes=(parameters.NAME_IN_PATH, parameters.LIMIT),
    problems=(BadParameter, UnknownCollection, InvalidName),
)
def runs(name: str) -> dict:
    """The latest index runs of a collection, with the progress of one that is under way."""
    state().service.home.collection(name)
    limit = parameters.LIMIT.read(request.args)
    return {"collection": name, "runs": [asdict(one) for one in state().service.home.catalog.runs(name, limit)]}


@api.get("/openapi.json")
@describe(Answer(200, "An OpenAPI 3.1 document", dict))
def openapi() -> dict:
    """This document."""
    return state().document


def _contents(service: SearchService) -> dict:
    try:
        snapshot = service.snapshot()
    except (EmptyCollection, UnknownCollection):
        return {"version": 0, "images": 0, "captions": 0, "generated_captions": 0, "languages": [], "index_fingerprint": None}
    return {
        "version": snapshot.version,
        "images": snapshot.image_count,
        "captions": snapshot.caption_count,
        "generated_captions": snapshot.generated_count,
        "languages": snapshot.languages,
        "index_fingerprint": snapshot.model_fingerprint,
    }
