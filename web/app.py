"""The application factory: blueprints, errors, and the headers that every answer carries."""

from __future__ import annotations

import logging
import secrets

from flask import Flask, Response, g, jsonify, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from .api import api
from .api_page import api_page
from .collection_page import collection_page
from .errors import KNOWN_ERRORS, status_of
from .media import media
from .pages import error_page, pages
from .photo_page import photo_page
from .service import SearchService
from .uploads import LARGEST_UPLOAD, KeptPhotos, too_large
from .words import interface_language

log = logging.getLogger(__name__)
FORM_AROUND_UPLOAD = 2**16
RETRY_AFTER_S = 3
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; style-src 'self' 'nonce-{nonce}'; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


def create_app(home, encoder, collection: str = "default", config: dict | None = None, translate=None) -> Flask:
    """Makes the application that serves one collection.

    Args:
        home: a `storage.Home`.
        encoder: an encoder that is ready, or a function without arguments that gives one; that runs in a thread of
            its own, and the page says that the model is loading meanwhile.
        collection: its name; it need not exist yet.
        config: settings of Flask's to override.
        translate: for sentences in a language that the model doesn't know (see `search.translation`).
    """
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = LARGEST_UPLOAD + FORM_AROUND_UPLOAD
    app.config.from_mapping(config or {})
    app.json.ensure_ascii = False
    app.json.sort_keys = False
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.extensions["panoptes"] = SearchService(home, encoder, collection, translate)
    app.extensions["panoptes-photos"] = KeptPhotos()
    for blueprint in (pages, photo_page, collection_page, media, api, api_page):
        app.register_blueprint(blueprint)
    _add_health(app)
    _add_errors(app)
    _add_headers(app)
    return app


def _add_health(app: Flask) -> None:
    service: SearchService = app.extensions["panoptes"]

    @app.get("/healthz")
    def healthz() -> dict:
        """The server answers."""
        return {"status": "ok"}

    @app.get("/readyz")
    def readyz() -> tuple[dict, int]:
        """The encoder is loaded and warmed up."""
        return {"status": service.state}, 200 if service.state == "ready" else 503


def _add_errors(app: Flask) -> None:
    def known(error: Exception):
        status = status_of(error)
        if status == 500:
            log.error("%s %s: %s", request.method, request.path, error)
        return _answer(str(error), status)

    for kind in KNOWN_ERRORS:
        app.register_error_handler(kind, known)

    @app.errorhandler(RequestEntityTooLarge)
    def upload_too_large(error: RequestEntityTooLarge):
        return _answer(too_large(), 413)

    @app.errorhandler(HTTPException)
    def refused(error: HTTPException):
        response = _answer(error.description or error.name, error.code or 500)
        response.headers.update({k: v for k, v in error.get_headers() if k in ("Allow", "Location")})
        return response

    @app.errorhandler(Exception)
    def unforeseen(error: Exception):
        log.error("%s %s", request.method, request.path, exc_info=error)
        return _answer("Something went wrong here: the server's log says what.", 500)


def _answer(message: str, status: int) -> Response:
    as_json = request.path.startswith("/api/")
    response = jsonify(error=message) if as_json else Response(error_page(message, status), mimetype="text/html")
    response.status_code = status
    if status == 503:
        response.headers["Retry-After"] = str(RETRY_AFTER_S)
    return response


def _add_headers(app: Flask) -> None:
    @app.before_request
    def new_nonce() -> None:
        g.nonce = secrets.token_urlsafe(16)

    @app.after_request
    def safe(response: Response) -> Response:
        headers = response.headers
        headers["X-Content-Type-Options"] = "nosniff"
        headers["Referrer-Policy"] = "no-referrer"
        headers["Cross-Origin-Resource-Policy"] = "same-origin"
        if not response.mimetype.startswith("image/"):  # browsers style a photo that is opened by itself, inline
            headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY.format(nonce=g.nonce)
        if response.mimetype == "text/html":
            headers["Content-Language"] = interface_language()
            headers["Cache-Control"] = "private, no-store" if request.method == "POST" else "private, no-cache"
            response.vary.add("Accept-Language")
        return response
