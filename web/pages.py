"""The pages: a search box, results, and what is said when there are none."""

from __future__ import annotations

from dataclasses import dataclass

from flask import Blueprint, Response, current_app, g, redirect, render_template, request, url_for

from search import Query
from search.report import percent
from search.terms import as_plain
from storage.errors import EmptyCollection, UnknownCollection

from . import views, words
from .addresses import photo_addresses, with_addresses
from .errors import ModelLoading
from .parameters import search_options
from .samples import examples, gallery
from .service import SearchService
from .uploads import KeptPhoto, KeptPhotos, read_upload

pages = Blueprint("pages", __name__)
PAGE_SIZE = 24
KEPT_IN_ADDRESS = ("q", "to", "top", "rerank", "offset", "mode", "where", "fold_duplicates", "lang")


@dataclass(frozen=True)
class Asked:
    """How the question is shown above its results: as words, or as a photo with a line below."""

    text: str | None = None
    photo_url: str | None = None
    name: str | None = None


@pages.app_context_processor
def _for_templates() -> dict:
    return {
        "say": words.say,
        "count": words.count,
        "language_name": words.language_name,
        "language": words.interface_language(),
        "views": views,
        "percent": percent,
        "as_plain": as_plain,
        "link": link,
        "here": here,
        "nonce": g.get("nonce", ""),
        "model_state": _service().state,
    }


def link(endpoint: str, **values: object) -> str:
    """An address that keeps the interface language where the present one names it."""
    lang = request.args.get("lang")
    keep = {"lang": lang} if lang in words.LANGUAGES else {}
    return url_for(endpoint, **keep | values)


def here(**changes: object) -> str:
    """The present address with some of its parameters changed; None takes one out."""
    kept = {name: request.args[name] for name in KEPT_IN_ADDRESS if name in request.args}
    values = kept | (request.view_args or {}) | changes
    given = {name: value for name, value in values.items() if value is not None}
    return url_for(request.endpoint or "pages.index", **given)


@pages.get("/")
def index() -> str | tuple[str, int]:
    """The start, or the results for the sentence `q`."""
    text = request.args.get("q", "")
    if not text.strip():
        return _start()
    return _results(Asked(text=text.strip()), text=text)


@pages.get("/favicon.ico")
def favicon() -> Response:
    """For what browsers open without a page around it, such as a photo."""
    return current_app.send_static_file("icon.svg")


@pages.get("/similar/<int:image_id>")
def similar(image_id: int) -> str | tuple[str, int]:
    """Photos like one of the collection's, or captions that fit it."""
    return _results(Asked(photo_url=photo_addresses(image_id)["thumbnail_url"]), image_id=image_id)


@pages.post("/by-image")
def by_image() -> Response:
    """Takes a photo to search with, and sends on to its results."""
    photo = read_upload(request.files.get("image"), _service().encoder.config)
    to = "captions" if request.form.get("to") == "captions" else None
    return redirect(link("pages.by_kept_image", token=_photos().keep(photo), to=to), 303)


@pages.get("/by-image/<token>")
def by_kept_image(token: str) -> str | tuple[str, int]:
    """The results for a photo that was sent."""
    photo: KeptPhoto = _photos().get(token)
    preview = url_for("pages.preview", token=token)
    return _results(Asked(photo_url=preview, name=photo.name), image=photo.prepared, label=photo.name)


@pages.get("/by-image/<token>/preview.jpg")
def preview(token: str) -> Response:
    """A photo that was sent, small."""
    response = Response(_photos().get(token).preview, mimetype="image/jpeg")
    response.headers["Cache-Control"] = "private, max-age=3600"
    return response


def error_page(message: str, status: int) -> str:
    """The page that says what is wrong, in one line."""
    title = {400: "bad_request", 404: "not_found", 413: "bad_request"}.get(status, "wrong")
    if _service().state != "ready" and status == 503:
        title = "failed" if _service().state == "failed" else "loading"
    return render_template("message.html", title=title, message=message)


def _start() -> str:
    try:
        snapshot = _service().snapshot()
    except (EmptyCollection, UnknownCollection):
        return render_template("empty.html", collection=_service().collection_name)
    return render_template(
        "start.html",
        snapshot=snapshot,
        photos=gallery(snapshot),
        examples=examples(snapshot, words.interface_language()),
    )


def _results(asked: Asked, **what: object) -> str | tuple[str, int]:
    options = search_options(request.args, top=PAGE_SIZE)
    query = Query(**what, **options)
    try:
        result = _service().search(query)
    except ModelLoading as loading:
        return render_template("message.html", title="loading", message=str(loading), asked=asked), 503
    except (EmptyCollection, UnknownCollection):
        return render_template("empty.html", collection=_service().collection_name, asked=asked), 404
    answer = with_addresses(result.as_json())
    notices = [words.notice(one) for one in result.notices]
    before, after = views.pages_around(query.offset, query.top, answer["total"])
    return render_template("results.html", asked=asked, query=query, answer=answer, notices=notices, before=before,
                           after=after)


def _service() -> SearchService:
    return current_app.extensions["panoptes"]


def _photos() -> KeptPhotos:
    return current_app.extensions["panoptes-photos"]
