"""Answers every error: programs get a problem document (RFC 9457), people a page."""

from __future__ import annotations

import json
import logging
from http import HTTPStatus

from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from storage.errors import CollectionBusy
from web.errors import KNOWN_ERRORS, BuildRunning, Busy, code_of, status_of
from web.hints import message_of
from web.pages.search import error_page
from web.uploads import too_large_message

log = logging.getLogger(__name__)
PROBLEM = "application/problem+json"
PROGRAM_PATHS = ("/api/v1", "/healthz", "/readyz", "/metrics")
RETRY_AFTER_S = 3
RETRY_AFTER_BUSY_S = 1
RETRY_AFTER_WRITE_S = 5
UNEXPECTED = "Something went wrong here: the server's log says what."


def add_errors(app: Flask) -> None:
    """Register handlers for known errors, for HTTP errors of Flask, and for all others."""

    def known(error: Exception) -> Response:
        status = status_of(type(error))
        if status == 500:
            log.error("%s %s: %s", request.method, request.path, error)
        response = _answer(message_of(error), status, code_of(error))
        if status == 401:
            response.headers["WWW-Authenticate"] = 'Basic realm="Panoptes", charset="UTF-8"'
        if (after := _retry_after(error, status)) is not None:
            response.headers["Retry-After"] = str(after)
        return response

    for kind in KNOWN_ERRORS:
        app.register_error_handler(kind, known)

    @app.errorhandler(RequestEntityTooLarge)
    def upload_too_large(error: RequestEntityTooLarge) -> Response:
        return _answer(too_large_message(), 413, "too-large")

    @app.errorhandler(HTTPException)
    def refused(error: HTTPException) -> Response:
        status = error.code or 500
        response = _answer(error.description or error.name, status, error.name.lower().replace(" ", "-"))
        response.headers.update({k: v for k, v in error.get_headers() if k in ("Allow", "Location")})
        return response

    @app.errorhandler(Exception)
    def unexpected(error: Exception) -> Response:
        log.error("%s %s", request.method, request.path, exc_info=error)
        return _answer(UNEXPECTED, 500, "unforeseen")


def _retry_after(error: Exception, status: int) -> int | None:
    """Seconds after which to ask again; None if waiting does not help."""
    if isinstance(error, CollectionBusy | BuildRunning):
        return RETRY_AFTER_WRITE_S
    if isinstance(error, Busy):
        return RETRY_AFTER_BUSY_S
    return RETRY_AFTER_S if status == 503 else None


def problem(detail: str, status: int, code: str) -> dict:
    """The members of a problem document."""
    return {
        "type": f"urn:panoptes:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "instance": request.path,
        "request_id": g.get("request_id", ""),
    }


def _answer(detail: str, status: int, code: str) -> Response:
    if request.path.startswith(PROGRAM_PATHS):
        body = json.dumps(problem(detail, status, code), ensure_ascii=False).encode("utf-8", "backslashreplace")
        return Response(body, status, mimetype=PROBLEM)
    return Response(error_page(detail, status), status, mimetype="text/html")
