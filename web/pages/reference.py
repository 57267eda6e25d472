"""The API's description as a page to read."""

from __future__ import annotations

from flask import Blueprint, render_template

from web.state import state

api_page = Blueprint("api_page", __name__)


@api_page.get("/api")
def reference() -> str:
    """What can be asked, with which parameters, and what is answered."""
    return render_template("reference.html", document=state().document)
