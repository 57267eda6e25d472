"""The page of the collection: what it holds, what could not be read, and what is being built."""

from __future__ import annotations

from datetime import UTC, datetime

from flask import Blueprint, Response, g, redirect, render_template, request

from search.query.query import LARGEST_ID
from storage.errors import UnknownRun
from web.editing import Builds
from web.pages import histograms
from web.pages.collection_summary import CollectionSummary, progress, seconds_left
from web.pages.links import link
from web.pages.translations import language_name
from web.state import state

collection_page = Blueprint("collection_page", __name__)


@collection_page.get("/collection")
def collection() -> str:
    """Counts, versions, failures, and index runs with their progress."""
    held, builds = CollectionSummary.of(state().service), _builds()
    ours = {run.run_id for run in held.building if builds is not None and builds.is_running(run.run_id)}
    return render_template(
        "collection.html",
        held=held,
        ours=ours,
        may_build=builds is not None and not ours and g.may_send,
        problem=builds.problem(held.runs[0].run_id) if builds is not None and held.runs else None,
        progress=progress,
        seconds_left=lambda run: seconds_left(run, datetime.now(UTC)),
        languages=histograms.bars([(language_name(code), count) for code, count in held.captions_by_language.items()]),
        sizes=histograms.bars(histograms.size_counts(held.widths, held.heights)),
        shapes=histograms.bars(histograms.shape_counts(held.widths, held.heights)),
    )


@collection_page.post("/collection/builds")
def build() -> Response:
    """Starts to build again from the source that the form names, and goes back to the page."""
    state().writing.builds.start(_name(), request.form.get("source", ""))
    return redirect(link("collection_page.collection"), 303)


@collection_page.post("/collection/builds/<int:run_id>/stop")
def stop(run_id: int) -> Response:
    """Has a build that this server started end soon, and goes back to the page."""
    if run_id > LARGEST_ID:
        raise UnknownRun(_name(), run_id)
    state().writing.builds.cancel(_name(), run_id)
    return redirect(link("collection_page.collection"), 303)


def _builds() -> Builds | None:
    editing = state().editor
    return None if editing is None else editing.builds


def _name() -> str:
    return state().service.collection_name
