"""The page that shows the API's document."""

from __future__ import annotations

from flask import Blueprint, render_template

from web.state import state

api_page = Blueprint("api_page", __name__)


@api_page.get("/api")
def reference() -> str:
    """The routes of the API, with their parameters and answers."""
    return render_template("reference.html", document=state().document)
