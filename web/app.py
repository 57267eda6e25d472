"""The application factory: blueprints, who may ask, and the headers that every answer carries."""

from __future__ import annotations

import secrets
from threading import Thread

from flask import Flask, Response, g, request

from web.api.builds import builds
from web.api.health import health
from web.api.images import changes
from web.api.media import media
from web.api.openapi import document
from web.api.search import api
from web.editing import Editor
from web.error_handlers import add_errors
from web.pages.collection import collection_page
from web.pages.photo import photo_page
from web.pages.reference import api_page
from web.pages.search import pages
from web.pages.translations import interface_language
from web.service import SearchService
from web.serving.auth import Tokens, guard
from web.serving.request_log import log_requests
from web.state import State
from web.uploads import LARGEST_UPLOAD

FORM_AROUND_UPLOAD = 2**16
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; style-src 'self' 'nonce-{nonce}'; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


def create_app(
    home,
    encoder,
    collection: str = "default",
    config: dict | None = None,
    translate=None,
    tokens: Tokens = Tokens(),  # noqa: B008 - it is frozen
    local_only: bool = False,
    editor: Editor | None = None,
) -> Flask:
    """Makes the application that serves one collection.

    Args:
        home: a `storage.Home`.
        encoder: an encoder that is ready, or a function without arguments that gives one; that runs in a thread of
            its own, and the page says that the model is loading meanwhile.
        collection: its name; it need not exist yet.
        config: settings of Flask's to override.
        translate: for sentences in a language that the model doesn't know (see `search.query.translation`).
        tokens: what has to be given to be let in.
        local_only: answer to this machine's own names only.
        editor: what changes collections; without it they can only be searched.
    """
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = LARGEST_UPLOAD + FORM_AROUND_UPLOAD
    app.config.from_mapping(config or {})
    app.json.ensure_ascii = False
    app.json.sort_keys = False
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    state = State(SearchService(home, encoder, collection, translate), editor)
    state.belongs_to(app)
    for blueprint in (api, changes, builds, media, health, pages, photo_page, collection_page, api_page):
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
        headers = response.headers
        headers["X-Content-Type-Options"] = "nosniff"
        headers["Referrer-Policy"] = "same-origin"  # with less, the Origin of our own forms would be hidden too
        headers["Cross-Origin-Resource-Policy"] = "same-origin"
        headers["Cross-Origin-Opener-Policy"] = "same-origin"
        if not response.mimetype.startswith("image/"):  # browsers style a photo that is opened by itself, inline
            headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY.format(nonce=g.nonce)
        if response.mimetype == "text/html":
            headers["Content-Language"] = interface_language()
            headers["Cache-Control"] = "private, no-store" if request.method == "POST" else "private, no-cache"
            response.vary.add("Accept-Language")
        return response
