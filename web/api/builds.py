"""Starts, watches and cancels index runs, and lists the files that they could not read."""

from __future__ import annotations

from dataclasses import asdict

from flask import Blueprint, request, url_for

from search.query.query import LARGEST_ID
from storage import Home
from storage.catalog.catalog import RUNNING, STARTING
from storage.errors import (
    CollectionBusy,
    EmptyCollection,
    InvalidName,
    UnfinishedRun,
    UnknownCollection,
    UnknownRun,
    UnusableHome,
)
from storage.status import failures as failures_of
from web.api import schemas
from web.api.spec import Answer, describe
from web.errors import BadParameter, BuildEnded, BuildRunning, Busy, NotOurBuild, ReadOnly, UnknownSource
from web.parameters import LIMIT, NAME_IN_PATH, RUN_IN_PATH
from web.state import state

builds = Blueprint("builds", __name__, url_prefix="/api/v1/collections/<name>")
UNKNOWN = (UnknownCollection, InvalidName)


@builds.get("/builds")
@describe(Answer(200, "In alphabetical order", schemas.Sources), takes=(NAME_IN_PATH,), problems=UNKNOWN)
def sources(name: str) -> dict:
    """What a collection can be built from again: the sources that it was built from."""
    known = _home().catalog.sources(_home().collection(name).name)
    return {"collection": name, "sources": [{"source": source, **recorded} for source, recorded in known.items()]}


@builds.post("/builds")
@describe(
    Answer(202, "It begins; its address is in the header Location", schemas.Build),
    takes=(NAME_IN_PATH,),
    body=schemas.Wanted,
    problems=(
        *UNKNOWN,
        BadParameter,
        ReadOnly,
        UnknownSource,
        BuildRunning,
        CollectionBusy,
        UnfinishedRun,
        UnusableHome,
        Busy,
    ),  # fmt: skip
    operation="startBuild",
)
def start(name: str) -> tuple[dict, int, dict]:
    """Build a collection again from one of its sources, as `build-index` was last run on it."""
    _home().collection(name)
    run_id = state().required_editor().builds.start(name, _named_source())
    return _build_json(name, run_id), 202, {"Location": url_for("builds.watch", name=name, run_id=run_id)}


@builds.get("/builds/<int:run_id>")
@describe(
    Answer(200, "How far it is, or how it ended", schemas.Build),
    takes=(NAME_IN_PATH, RUN_IN_PATH),
    problems=(*UNKNOWN, UnknownRun),
    operation="watchBuild",
)
def watch(name: str, run_id: int) -> dict:
    """Watch an index run, whoever began it."""
    return _build_json(name, run_id)


@builds.delete("/builds/<int:run_id>")
@describe(
    Answer(202, "It ends soon", schemas.Build),
    takes=(NAME_IN_PATH, RUN_IN_PATH),
    problems=(*UNKNOWN, UnknownRun, ReadOnly, NotOurBuild, BuildEnded),
    operation="cancelBuild",
)
def cancel(name: str, run_id: int) -> tuple[dict, int]:
    """Cancel an index run that this server began; what it encoded stays for the next one."""
    _home().collection(name)
    state().required_editor().builds.cancel(name, _checked_run_id(name, run_id))
    return _build_json(name, run_id), 202


@builds.get("/failures")
@describe(
    Answer(200, "By uri", schemas.Failures),
    takes=(NAME_IN_PATH, LIMIT),
    problems=(*UNKNOWN, EmptyCollection, BadParameter),
)
def failures(name: str) -> dict:
    """The files of a collection that could not be read when they were last tried."""
    limit = LIMIT.read(request.args)
    found = failures_of(_home(), name)["failures"]
    return {"collection": name, "total": len(found), "failures": found[:limit]}


def _named_source() -> str:
    sent = request.get_json(silent=True)
    source = sent.get("source") if isinstance(sent, dict) else None
    if not isinstance(source, str) or not source:
        raise BadParameter('No source was named: send JSON such as {"source": "/photos"}, as application/json.')
    return source


def _build_json(name: str, run_id: int) -> dict:
    home, editor = _home(), state().editor
    run = home.catalog.run(home.collection(name).name, _checked_run_id(name, run_id))
    builds = editor.builds if editor is not None else None
    return {
        "collection": name,
        **asdict(run),
        "cancellable": run.state in (STARTING, RUNNING) and builds is not None and builds.is_running(run_id),
        "problem": builds.problem(run_id) if builds is not None else None,
    }


def _checked_run_id(name: str, run_id: int) -> int:
    """The id.

    Raises:
        UnknownRun: It is larger than any id in the catalog.
    """
    if run_id > LARGEST_ID:
        raise UnknownRun(name, run_id)
    return run_id


def _home() -> Home:
    return state().service.home
