"""The HTTP API, version 1: the same answers as the command line's, as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import cache
from pathlib import Path

from flask import Blueprint, current_app, request

from search import EmptyQuery, Query
from search.query import LARGEST_ID
from storage.errors import EmptyCollection, UnknownCollection

from .addresses import with_addresses
from .errors import BadParameter
from .parameters import api_options, whole_number
from .service import SearchService
from .uploads import read_upload

api = Blueprint("api", __name__, url_prefix="/api/v1")
MOST_LISTED = 500


@api.get("/search")
def search() -> dict:
    """Searches by a sentence (`q`), by a photo of the collection (`image_id`), or by both added up."""
    values = request.args
    image_id = whole_number(values, "image_id", None, 0, LARGEST_ID)
    text = values.get("q")
    if image_id is None and text is None:
        raise EmptyQuery("Nothing to search for: give a sentence as q, or the id of a photo as image_id.")
    query = Query(text=text, image_id=image_id, **api_options(values))
    return with_addresses(_service().search(query).as_json())


@api.post("/search")
def search_by_photo() -> dict:
    """Searches by a photo that is sent as the form field `image`, and by what else is given with it."""
    options = api_options(request.values)
    photo = read_upload(request.files.get("image"), _service().encoder.config)
    text = request.values.get("q", "").strip() or None
    image_id = whole_number(request.values, "image_id", None, 0, LARGEST_ID)
    query = Query(text=text, image=photo.prepared, image_id=image_id, label=photo.name, **options)
    return with_addresses(_service().search(query).as_json())


@api.get("/explain")
def explain() -> dict:
    """Where in a photo (`id`) the words of a sentence (`q`) are seen."""
    query = Query(text=request.args.get("q"))
    image_id = whole_number(request.args, "id", None, 0, LARGEST_ID)
    if image_id is None:
        raise BadParameter("There is no photo to explain: give its id.")
    return {"query": query.text} | _service().explain(query, image_id).as_json()


@api.get("/status")
def status() -> dict:
    """What is indexed, and whether the model is ready."""
    service = _service()
    model = {"state": service.state, "name": None, "fingerprint": None}
    if service.state == "ready":
        model |= {"name": service.encoder.config.name, "fingerprint": service.encoder.fingerprint}
    return {"collection": service.collection_name, "model": model} | _contents(service)


@api.get("/collections")
def collections() -> dict:
    """The collections of the home, and which of them is searched here."""
    home, searched = _service().home, _service().collection_name
    return {"collections": [
        {"name": name, "version": home.collection(name).manifest.version, "searched": name == searched}
        for name in home.collection_names()
    ]}  # fmt: skip


@api.get("/collections/<name>/versions")
def versions(name: str) -> dict:
    """The published versions of a collection, newest first."""
    _service().home.collection(name)
    return {"collection": name, "versions": [asdict(one) for one in _service().home.catalog.versions(name)]}


@api.get("/collections/<name>/runs")
def runs(name: str) -> dict:
    """The latest index runs of a collection, newest first, with the progress of one that is under way."""
    _service().home.collection(name)
    limit = whole_number(request.args, "limit", 20, 1, MOST_LISTED)
    return {"collection": name, "runs": [asdict(one) for one in _service().home.catalog.runs(name, limit)]}


@api.get("/openapi.json")
def openapi() -> dict:
    """This API, described."""
    return described()


@cache
def described() -> dict:
    """The OpenAPI document."""
    return json.loads((Path(__file__).parent / "openapi.json").read_text("utf-8"))


def _contents(service: SearchService) -> dict:
    try:
        snapshot = service.snapshot()
    except (EmptyCollection, UnknownCollection):
        return {"version": 0, "images": 0, "captions": 0, "languages": [], "index_fingerprint": None}
    return {
        "version": snapshot.version,
        "images": snapshot.image_count,
        "captions": snapshot.caption_count,
        "languages": snapshot.languages,
        "index_fingerprint": snapshot.model_fingerprint,
    }


def _service() -> SearchService:
    return current_app.extensions["panoptes"]
