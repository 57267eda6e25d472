"""The application factory: blueprints, access control, and the headers that every answer carries."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from threading import Thread
from typing import TYPE_CHECKING

from flask import Flask, Response, g, request
from flask.json.provider import DefaultJSONProvider

from web.api.builds import builds
from web.api.health import health
from web.api.images import images
from web.api.media import media
from web.api.openapi import document
from web.api.search import api
from web.editing import Editor
from web.error_handlers import add_errors
from web.limits import LARGEST_UPLOAD
from web.pages.collection import collection_page
from web.pages.photo import photo_page
from web.pages.reference import api_page
from web.pages.search import pages
from web.pages.translations import interface_language
from web.service import SearchService
from web.serving.auth import Tokens, guard
from web.serving.request_log import log_requests
from web.state import State

if TYPE_CHECKING:
    from encoder.api import CaptionWriter, Encoder
    from search.query.translation import Translate
    from storage import Home

FORM_AROUND_UPLOAD = 2**16
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; style-src 'self' 'nonce-{nonce}'; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


class _JSONProvider(DefaultJSONProvider):
    """JSON with Chinese as it is, and with fields in their own order."""

    ensure_ascii = False
    sort_keys = False


def create_app(
    home: Home,
    encoder: Encoder | Callable[[], Encoder],
    collection: str = "default",
    config: dict | None = None,
    translate: Translate | None = None,
    tokens: Tokens = Tokens(),  # noqa: B008 - it is frozen
    local_only: bool = False,
    editor: Editor | None = None,
    captioner: Callable[[], CaptionWriter] | None = None,
) -> Flask:
    """Make the application that serves one collection.

    Args:
        home: The home that has the collection.
        encoder: An encoder that is ready, or a function that opens one. The function runs in a thread of its own; until it
            returns, the page says that the model is loading.
        collection: The collection's name; it need not exist yet.
        config: Settings of Flask's to override.
        translate: Translates queries in a language that the model doesn't know (see `search.query.translation`).
        tokens: The tokens that requests need.
        local_only: Answer only requests to this machine's own names.
        editor: Changes collections; without it they can only be searched.
        captioner: Opens the model that writes captions; without it none are written.
    """
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = LARGEST_UPLOAD + FORM_AROUND_UPLOAD
    app.config.from_mapping(config or {})
    app.json = _JSONProvider(app)
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    state = State(SearchService(home, encoder, collection, translate, captioner), editor)
    state.attach_to(app)
    for blueprint in (api, images, builds, media, health, pages, photo_page, collection_page, api_page):
        app.register_blueprint(blueprint)
    state.document = document(app)
    if callable(encoder):  # there is time while it loads
        Thread(target=state.reader.decoder.warm_up, name="start-decoder", daemon=True).start()
    _add_headers(app)
    log_requests(app, state.service, state.metrics)
    guard(app, tokens, local_only)
    add_errors(app)
    return app


def _add_headers(app: Flask) -> None:
    @app.before_request
    def new_nonce() -> None:
        g.nonce = secrets.token_urlsafe(16)

    @app.after_request
    def safe(response: Response) -> Response:
        headers, media_type = response.headers, response.mimetype or ""
        headers["X-Content-Type-Options"] = "nosniff"
        headers["Referrer-Policy"] = "same-origin"  # with less, the Origin of our own forms would be hidden too
        headers["Cross-Origin-Resource-Policy"] = "same-origin"
        headers["Cross-Origin-Opener-Policy"] = "same-origin"
        if not media_type.startswith("image/"):  # browsers style a photo that is opened by itself, inline
            headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY.format(nonce=g.nonce)
        if media_type == "text/html":
            headers["Content-Language"] = interface_language()
            headers["Cache-Control"] = "private, no-store" if request.method == "POST" else "private, no-cache"
            response.vary.add("Accept-Language")
        return response
