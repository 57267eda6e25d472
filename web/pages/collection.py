"""The page of the collection: its contents, the files that could not be read, and its builds."""

from __future__ import annotations

from datetime import UTC, datetime

from flask import Blueprint, g, redirect, render_template, request
from werkzeug.wrappers import Response as BaseResponse

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
    summary, builds = CollectionSummary.of(state().service), _builds()
    own_runs = {run.run_id for run in summary.building if builds is not None and builds.is_running(run.run_id)}
    return render_template(
        "collection.html",
        summary=summary,
        own_runs=own_runs,
        may_build=builds is not None and not own_runs and g.may_write,
        problem=builds.problem(summary.runs[0].run_id) if builds is not None and summary.runs else None,
        progress=progress,
        seconds_left=lambda run: seconds_left(run, datetime.now(UTC)),
        languages=histograms.bars([(language_name(code), count) for code, count in summary.captions_by_language.items()]),
        sizes=histograms.bars(histograms.size_counts(summary.widths, summary.heights)),
        shapes=histograms.bars(histograms.shape_counts(summary.widths, summary.heights)),
    )


@collection_page.post("/collection/builds")
def build() -> BaseResponse:
    """Start to build again from the source that the form names, and go back to the page."""
    state().required_editor().builds.start(_collection_name(), request.form.get("source", ""))
    return redirect(link("collection_page.collection"), 303)


@collection_page.post("/collection/builds/<int:run_id>/stop")
def stop(run_id: int) -> BaseResponse:
    """End a build that this server started, and go back to the page."""
    if run_id > LARGEST_ID:
        raise UnknownRun(_collection_name(), run_id)
    state().required_editor().builds.cancel(_collection_name(), run_id)
    return redirect(link("collection_page.collection"), 303)


def _builds() -> Builds | None:
    editor = state().editor
    return None if editor is None else editor.builds


def _collection_name() -> str:
    return state().service.collection_name
