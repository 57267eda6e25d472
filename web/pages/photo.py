"""The page of one photo: large, with all that is known of it and, where it was found, why."""

from __future__ import annotations

from dataclasses import dataclass, field

from flask import Blueprint, render_template, request, url_for

from search import Query
from search.errors import NoHeatMap, NothingToExplain
from search.query.query import LARGEST_ID
from search.retrieval.calibration import relevance
from storage.errors import UnknownId
from web.errors import ModelFailed, ModelLoading
from web.pages.attention_overlay import AttentionOverlay, attention_overlays
from web.pages.formatting import captions_by_language, flat
from web.pages.page_query import PageQuery
from web.pages.translations import interface_language
from web.parameters import AT, MOST_TOP
from web.photo_urls import photo_urls, with_photo_urls
from web.state import state

photo_page = Blueprint("photo_page", __name__)
MOST_SIMILAR = 8
MOST_CAPTIONS = 6


@dataclass(frozen=True)
class Found:
    """A photo's place among what a question found: its hit, as JSON, and its neighbours' places as (id, rank)."""

    hit: dict
    relevance: str | None
    reranked: int
    before: tuple[int, int] | None = None
    after: tuple[int, int] | None = None
    within_list: bool = True


@dataclass(frozen=True)
class Around:
    """What the collection holds that goes with a photo: like photos and fitting captions, as hits."""

    similar: list[dict] = field(default_factory=list)
    captions: list[dict] = field(default_factory=list)


@photo_page.get("/photo/<int:image_id>")
def photo(image_id: int) -> str:
    """One photo; `q`, `like` or `sent` and the options of a search say what it was found for, `at` its rank."""
    if image_id > LARGEST_ID:
        raise UnknownId("image", image_id)
    snapshot = state().service.snapshot()
    record = snapshot.images([image_id])[0]
    asked = PageQuery.of(request.args, state().photos)
    try:
        found = _found(asked, image_id) if asked else None
        looks = _looks(asked, record) if found else []
        around = _around(image_id)
    except (ModelLoading, ModelFailed):
        found, looks, around = None, [], Around()
    return render_template(
        "photo.html",
        record=record,
        photo=photo_urls(image_id),
        captions=captions_by_language(snapshot.captions_of([image_id])[image_id], interface_language()),
        known=flat(record.metadata),
        asked=asked,
        found=found,
        looks=looks,
        around=around,
        back=asked.address(**_options()) if asked else None,
        neighbour=lambda place: url_for("photo_page.photo", image_id=place[0], at=place[1], **_question(asked)),
    )


def _question(asked: PageQuery) -> dict:
    given = asked.within | _options() | {"lang": request.args.get("lang")}
    return {name: value for name, value in given.items() if value is not None}


def _options() -> dict:
    """What decides on the list, whatever part of it is shown."""
    return {name: request.args[name] for name in ("rerank", "mode", "where", "fold_duplicates", "top") if name in request.args}


def _found(asked: PageQuery, image_id: int) -> Found | None:
    """Looked for where `at` says, then among the first MOST_TOP, then by itself; None where a filter leaves it out."""
    at = AT.read(request.args)
    for window in ({"offset": max(at - 2, 0), "top": 3}, {"offset": 0, "top": MOST_TOP}):
        answer = _search(asked.query(request.args, cursor=None, to="images", **window))
        ids = [hit["id"] for hit in answer["hits"]]
        if image_id in ids:
            return _placed(answer, ids.index(image_id))
    here_only = " and ".join([*([f"({answer['where']})"] if answer["where"] else []), f"id = {image_id}"])
    alone = _search(asked.query(request.args, cursor=None, to="images", where=here_only, offset=0, top=1, rerank=0))
    return Found(alone["hits"][0], None, 0, within_list=False) if alone["hits"] else None


def _placed(answer: dict, i: int) -> Found:
    hits = answer["hits"]
    before, after = (hits[j] if 0 <= j < len(hits) else None for j in (i - 1, i + 1))
    chance = hits[i]["match_probability"]
    places = [None if hit is None else (hit["id"], hit["rank"]) for hit in (before, after)]
    return Found(hits[i], None if chance is None else relevance(chance), answer["reranked"], *places)


def _looks(asked: PageQuery, record) -> list[AttentionOverlay]:
    """Where in the photo the words were seen; nothing where there are none to be read with it, or the model can't say."""
    try:
        explained = state().service.explain(asked.query(request.args, to="images", cursor=None), record.image_id)
    except (NothingToExplain, NoHeatMap):
        return []
    return attention_overlays(explained, record.width, record.height)


def _around(image_id: int) -> Around:
    similar = _search(Query(image_id=image_id, top=MOST_SIMILAR, rerank=0))
    captions = _search(Query(image_id=image_id, to="captions", top=MOST_CAPTIONS))
    return Around(similar["hits"], [caption | {"own": caption["image"]["id"] == image_id} for caption in captions["hits"]])


def _search(query: Query) -> dict:
    return with_photo_urls(state().service.search(query).as_json())
