"""The page of one photo: the photo, its captions and metadata, related photos, and why a query found it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug import Response

from search import Query
from search.errors import NoHeatMap, NothingToExplain
from search.query.query import LARGEST_ID
from search.retrieval.calibration import relevance
from storage import ImageRecord
from storage.errors import UnknownId
from storage.photo_texts import PhotoText
from web.errors import ModelFailed, ModelLoading
from web.pages.attention_overlay import AttentionOverlay, attention_overlays
from web.pages.captions import author, sent_caption, with_written, written_for_page
from web.pages.formatting import captions_by_language, flat
from web.pages.page_query import PageQuery
from web.pages.translations import interface_language
from web.parameters import AT, LANGUAGE, MOST_TOP
from web.photo_urls import photo_urls, with_photo_urls
from web.state import state

photo_page = Blueprint("photo_page", __name__)
MOST_SIMILAR = 8
MOST_CAPTIONS = 6


@dataclass(frozen=True)
class FoundPhoto:
    """A photo as a query found it.

    Attributes:
        hit: Its hit, as JSON.
        relevance: How well it fits; None if it has no match probability.
        reranked: How many candidates the cross-modal encoder read.
        before: (id, rank) of the photo before it in the list.
        after: (id, rank) of the photo after it.
        within_list: False if it is so far down that its rank is not known.
    """

    hit: dict
    relevance: str | None
    reranked: int
    before: tuple[int, int] | None = None
    after: tuple[int, int] | None = None
    within_list: bool = True


@dataclass(frozen=True)
class RelatedHits:
    """Hits that are related to a photo: similar photos, and captions that fit it, as JSON."""

    similar: list[dict] = field(default_factory=list)
    captions: list[dict] = field(default_factory=list)


@photo_page.get("/photo/<int:image_id>")
def photo(image_id: int) -> str:
    """One photo. `q`, `like` or `sent` and the options of a search are the query that found it, `at` is its rank.

    A photo without captions gets one that the model writes; with `write`, any photo does.
    """
    if image_id > LARGEST_ID:
        raise UnknownId("image", image_id)
    snapshot = state().service.snapshot()
    record = snapshot.images([image_id])[0]
    page_query = PageQuery.of(request.args, state().photos)
    captions = captions_by_language(snapshot.captions_of([image_id])[image_id], interface_language())
    written = written_for_page(image_id) if not captions or "write" in request.args else None
    try:
        found = _find_photo(page_query, image_id) if page_query else None
        overlays = _overlays(page_query, record) if found else []
        related = _related_hits(image_id)
        related = replace(related, captions=with_written(image_id, related.captions, written))
    except (ModelLoading, ModelFailed):
        found, overlays, related = None, [], RelatedHits()
    return render_template(
        "photo.html",
        record=record,
        photo=photo_urls(image_id),
        captions=captions,
        written=written,
        can_write=written is None and bool(state().service.captions.languages) and state().service.state == "ready",
        can_save=state().editor is not None,
        write_address=url_for("photo_page.photo", image_id=image_id, write=1, **_all_parameters(page_query)),
        metadata=flat(record.all_metadata),
        texts=_texts(snapshot.texts.of(record.sha256), record, found),
        page_query=page_query,
        found=found,
        overlays=overlays,
        related=related,
        back=page_query.address(**_list_options()) if page_query else None,
        neighbour=lambda other: url_for("photo_page.photo", image_id=other[0], at=other[1], **_all_parameters(page_query)),
    )


@photo_page.post("/photo/<int:image_id>")
def save_caption(image_id: int) -> Response:
    """Add the caption that was sent to a photo, as one of people's."""
    service, editor = state().service, state().required_editor()
    text, language = sent_caption(request.form.get("caption", "")), LANGUAGE.read(request.form)
    if image_id > LARGEST_ID:
        raise UnknownId("image", image_id)
    with state().change_admission.slot():
        added = editor.add_caption(service.collection_name, image_id, text, language, service.encoder)
        service.wait_for_version(added.version)
    chosen: dict[str, Any] = {"lang": request.args["lang"]} if "lang" in request.args else {}
    return redirect(url_for("photo_page.photo", image_id=added.image_id, **chosen), 303)


@dataclass(frozen=True)
class ShownText:
    """A line of text in the photo.

    Attributes:
        text: What it says.
        language: A code such as "en" or "zh".
        corners: The four corners in pixels of the photo, as an SVG polygon has them.
        found: True if the query has one of its words.
    """

    text: str
    language: str
    corners: str
    found: bool


def _texts(read: PhotoText | None, record: ImageRecord, found: FoundPhoto | None) -> list[ShownText]:
    """The lines of text in a photo, in their order."""
    matching = {tuple(line["box"]) for line in found.hit["texts"]} if found else set()
    return [
        ShownText(line.text, line.language, _corners(line.box, record.width, record.height), line.box in matching)
        for line in (read.lines if read else ())
    ]


def _corners(box: tuple[float, ...], width: int, height: int) -> str:
    return " ".join(f"{x * width:.1f},{y * height:.1f}" for x, y in zip(box[::2], box[1::2], strict=True))


def _all_parameters(page_query: PageQuery | None) -> dict[str, Any]:
    """The parameters of the query, of its list, and of the interface."""
    parameters = (page_query.parameters if page_query else {}) | _list_options() | {"lang": request.args.get("lang")}
    return {name: value for name, value in parameters.items() if value is not None}


def _list_options() -> dict[str, str]:
    """The parameters that decide on the list, whatever part of it is shown."""
    return {name: request.args[name] for name in ("rerank", "mode", "where", "fold_duplicates", "top") if name in request.args}


def _find_photo(page_query: PageQuery, image_id: int) -> FoundPhoto | None:
    """Find the photo near the rank `at`, then among the first MOST_TOP, then by itself; None if a filter leaves it out."""
    at = AT.read(request.args)
    for window in ({"offset": max(at - 2, 0), "top": 3}, {"offset": 0, "top": MOST_TOP}):
        answer = _search(page_query.query(request.args, cursor=None, to="images", **window))
        ids = [hit["id"] for hit in answer["hits"]]
        if image_id in ids:
            return _found_at(answer, ids.index(image_id))
    here_only = " and ".join([*([f"({answer['where']})"] if answer["where"] else []), f"id = {image_id}"])
    alone = _search(page_query.query(request.args, cursor=None, to="images", where=here_only, offset=0, top=1, rerank=0))
    return FoundPhoto(alone["hits"][0], None, 0, within_list=False) if alone["hits"] else None


def _found_at(answer: dict, i: int) -> FoundPhoto:
    hits = answer["hits"]
    before, after = ((hits[j]["id"], hits[j]["rank"]) if 0 <= j < len(hits) else None for j in (i - 1, i + 1))
    probability = hits[i]["match_probability"]
    return FoundPhoto(
        hits[i], None if probability is None else relevance(probability), answer["reranked"], before=before, after=after
    )


def _overlays(page_query: PageQuery, record: ImageRecord) -> list[AttentionOverlay]:
    """The overlays of the query's words; none if the query has no words, or the model has no attention maps."""
    try:
        explained = state().service.explain(page_query.query(request.args, to="images", cursor=None), record.image_id)
    except (NothingToExplain, NoHeatMap):
        return []
    return attention_overlays(explained, record.width, record.height)


def _related_hits(image_id: int) -> RelatedHits:
    similar = _search(Query(image_id=image_id, top=MOST_SIMILAR, rerank=0))
    captions = _search(Query(image_id=image_id, to="captions", top=MOST_CAPTIONS))
    own = [hit | {"own": hit["image"]["id"] == image_id, "author": author(hit)} for hit in captions["hits"]]
    return RelatedHits(similar["hits"], own)


def _search(query: Query) -> dict:
    return with_photo_urls(state().service.search(query).as_json())
