"""The API's description as a page to read."""

from __future__ import annotations

from flask import Blueprint, render_template

from .api import described

api_page = Blueprint("api_page", __name__)


@api_page.get("/api")
def reference() -> str:
    """What can be asked, with which parameters, and what is answered."""
    return render_template("reference.html", document=described(), resolved=resolved)


def resolved(part: dict) -> dict:
    """A part of the description, or what its `$ref` names."""
    if "$ref" not in part:
        return part
    *_, kind, name = part["$ref"].split("/")
    return described()["components"][kind][name]
