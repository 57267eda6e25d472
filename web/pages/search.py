"""The pages of searching: the start, results, and errors."""

from __future__ import annotations

from flask import Blueprint, Response, current_app, g, redirect, render_template, request
from werkzeug.wrappers import Response as BaseResponse

from encoder.inputs.image_formats import PHOTO_ENDINGS
from search.query.terms import as_plain
from search.report import percent
from storage.errors import EmptyCollection, UnknownCollection
from web.errors import ModelLoading
from web.limits import LARGEST_UPLOAD_MB
from web.pages import filter_chips, formatting, translations
from web.pages.captions import author
from web.pages.links import FIRST_PAGE, here, link
from web.pages.page_query import PageQuery
from web.pages.start_samples import examples, gallery
from web.parameters import MOST_TOP
from web.photo_urls import with_photo_urls
from web.state import state

pages = Blueprint("pages", __name__)
_TITLES = {
    400: "bad_request",
    401: "no_access",
    403: "no_access",
    404: "not_found",
    409: "not_done",
    410: "bad_request",
    413: "bad_request",
    422: "not_done",
    503: "busy",
}


@pages.app_context_processor
def _template_globals() -> dict:
    return {
        "say": translations.say,
        "count": translations.count,
        "language_name": translations.language_name,
        "language": translations.interface_language(),
        "formatting": formatting,
        "chips": filter_chips,
        "percent": percent,
        "as_plain": as_plain,
        "link": link,
        "author": author,
        "here": here,
        "first_page": FIRST_PAGE,
        "most_top": MOST_TOP,
        "nonce": g.get("nonce", ""),
        "largest_upload_mb": LARGEST_UPLOAD_MB,
        "photo_endings": ",".join(sorted(PHOTO_ENDINGS)),
        "model_state": state().service.state,
    }


@pages.get("/")
def index() -> str | tuple[str, int]:
    """The start, or the results for the sentence `q`."""
    page_query = PageQuery(request.args.get("q", "").strip())
    return _results(page_query) if page_query else _start()


@pages.get("/favicon.ico")
def favicon() -> Response:
    """The icon for what browsers open without a page, such as a photo."""
    return current_app.send_static_file("icon.svg")


@pages.get("/similar/<int:image_id>")
def similar(image_id: int) -> str | tuple[str, int]:
    """Photos like one of the collection's, or captions that fit it; words may be added."""
    return _results(PageQuery.of(request.args, state().photos, like=image_id))


@pages.post("/by-image")
def by_image() -> BaseResponse:
    """Keep the photo that is sent, and go on to the results for it and for the words beside it."""
    photo = state().reader.read(request.files.get("image"), state().service.encoder.config)
    to = "captions" if request.form.get("to") == "captions" else None
    page_query = PageQuery(request.form.get("q", "").strip(), sent=state().photos.keep(photo), photo=photo)
    return redirect(page_query.address(to=to), 303)


@pages.get("/by-image/<token>")
def by_kept_image(token: str) -> str | tuple[str, int]:
    """The results for a photo that was sent, and words that may be added."""
    return _results(PageQuery.of(request.args, state().photos, sent=token))


@pages.get("/by-image/<token>/preview.jpg")
def preview(token: str) -> Response:
    """A small picture of a photo that was sent."""
    response = Response(state().photos.get(token).preview, mimetype="image/jpeg")
    response.headers["Cache-Control"] = "private, max-age=3600"
    return response


def error_page(message: str, status: int) -> str:
    """The page of an error, with its message in one line."""
    title = _TITLES.get(status, "wrong")
    if state().service.state != "ready" and status == 503:
        title = "failed" if state().service.state == "failed" else "loading"
    return render_template("message.html", title=title, message=message)


def _start() -> str:
    try:
        snapshot = state().service.snapshot()
    except (EmptyCollection, UnknownCollection):
        return render_template("empty.html", collection=state().service.collection_name)
    return render_template(
        "start.html",
        snapshot=snapshot,
        photos=gallery(snapshot),
        examples=examples(snapshot, translations.interface_language()),
    )


def _results(page_query: PageQuery) -> str | tuple[str, int]:
    query = page_query.query(request.args)
    try:
        result = state().service.search(query)
    except ModelLoading as loading:
        return render_template("message.html", title="loading", message=str(loading), page_query=page_query), 503
    except (EmptyCollection, UnknownCollection):
        return render_template("empty.html", collection=state().service.collection_name, page_query=page_query), 404
    answer = with_photo_urls(result.as_json())
    before, _ = formatting.pages_around(answer["offset"], query.top, answer["total"])
    notices = [translations.notice(one) for one in result.notices]
    return render_template("results.html", page_query=page_query, query=query, answer=answer, notices=notices, before=before)
