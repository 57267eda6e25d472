"""Gives every request an id, counts it, and writes one line of JSON about it if that is wanted."""

from __future__ import annotations

import json
import logging
import re
import secrets
import time

from flask import Flask, Response, g, has_request_context, request

from web.service import SearchService
from web.serving.metrics import Metrics

log = logging.getLogger("panoptes.requests")
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
METHODS = ("GET", "HEAD", "POST", "OPTIONS", "PUT", "DELETE", "PATCH")


def log_requests(app: Flask, service: SearchService, metrics: Metrics) -> None:
    """Count, and log, all requests of an application and all searches and batches of its service."""

    def count_search(took_ms: dict[str, float]) -> None:
        metrics.count_search(took_ms)
        if has_request_context():
            g.setdefault("searches", []).append(took_ms)

    service.on_search = count_search
    service.on_batch = metrics.count_batch

    @app.before_request
    def begin() -> None:
        g.began = time.perf_counter()
        sent = request.headers.get("X-Request-ID", "")
        g.request_id = sent if REQUEST_ID.fullmatch(sent) else secrets.token_hex(8)

    @app.after_request
    def end(response: Response) -> Response:
        response.headers["X-Request-ID"] = g.request_id
        seconds = time.perf_counter() - g.began
        method = request.method if request.method in METHODS else "other"
        metrics.count_request(method, request.endpoint or "none", response.status_code, seconds)
        if log.isEnabledFor(logging.INFO):
            log.info("%s", json.dumps(_line(response, seconds), ensure_ascii=False))
        return response


def log_as_json() -> None:
    """Write a line of JSON to standard error for each request from now on. It does not have the query, which is private."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    log.handlers = [handler]
    log.propagate = False
    log.setLevel(logging.INFO)


def _line(response: Response, seconds: float) -> dict:
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "request_id": g.request_id,
        "method": request.method,
        "path": request.path if request.endpoint != "pages.by_kept_image" else "/by-image/",
        "endpoint": request.endpoint,
        "status": response.status_code,
        "bytes": response.content_length,
        "ms": round(1000 * seconds, 2),
        "searches_ms": g.get("searches", []),
    }
