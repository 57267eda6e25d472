"""What watches over a server asks: does it live, is it ready, how is it doing."""

from __future__ import annotations

from flask import Blueprint, Response, current_app

from .metrics import TEXT

health = Blueprint("health", __name__)


@health.get("/healthz")
def healthz() -> dict:
    """The server answers."""
    return {"status": "ok"}


@health.get("/readyz")
def readyz() -> tuple[dict, int]:
    """The encoder is loaded and warmed up."""
    state = current_app.extensions["panoptes"].state
    return {"status": state}, 200 if state == "ready" else 503


@health.get("/metrics")
def metrics() -> Response:
    """Counters and times in Prometheus' text format."""
    return Response(current_app.extensions["panoptes-metrics"].text(), content_type=TEXT)
