"""Health checks and metrics, for what watches over a server."""

from __future__ import annotations

from flask import Blueprint, Response

from web.api.schemas import State
from web.api.spec import Answer, describe
from web.serving.metrics import CONTENT_TYPE
from web.state import state

health = Blueprint("health", __name__)


@health.get("/healthz")
@describe(Answer(200, "It does", State))
def healthz() -> dict:
    """The server answers."""
    return {"status": "ok"}


@health.get("/readyz")
@describe(
    Answer(200, "It is: status is ready", State),
    Answer(503, "It is not: status is loading or failed", State),
)
def readyz() -> tuple[dict, int]:
    """The model is loaded and warmed up."""
    status = state().service.state
    return {"status": status}, 200 if status == "ready" else 503


@health.get("/metrics")
@describe(Answer(200, "One sample a line", str, "text/plain"))
def metrics() -> Response:
    """Counters and times in Prometheus' text format."""
    return Response(state().metrics.text(), content_type=CONTENT_TYPE)
