"""The page of the collection: what it holds, what could not be read, and what is being built."""

from __future__ import annotations

from datetime import UTC, datetime

from flask import Blueprint, current_app, render_template

from . import plots
from .holdings import Holdings, progress, seconds_left
from .words import language_name

collection_page = Blueprint("collection_page", __name__)


@collection_page.get("/collection")
def collection() -> str:
    """Counts, versions, failures, and index runs with their progress."""
    held = Holdings.of(current_app.extensions["panoptes"])
    return render_template(
        "collection.html",
        held=held,
        progress=progress,
        seconds_left=lambda run: seconds_left(run, datetime.now(UTC)),
        languages=plots.bars([(language_name(code), count) for code, count in held.captions_by_language.items()]),
        sizes=plots.bars(plots.size_counts(held.widths, held.heights)),
        shapes=plots.bars(plots.shape_counts(held.widths, held.heights)),
    )
