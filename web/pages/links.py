"""Addresses within the page: each keeps the interface language, and what is asked, where that goes on."""

from __future__ import annotations

from flask import request, url_for

from web.pages.translations import LANGUAGES

KEPT_IN_ADDRESS = (
    "q", "to", "top", "rerank", "offset", "cursor", "mode", "where", "fold_duplicates", "like", "sent", "lang",
)  # fmt: skip
PLACE_IN_LIST = {"top": None, "offset": None, "cursor": None}
"""Changes that lead to the beginning of a list."""


def link(endpoint: str, **values: object) -> str:
    """An address that keeps the interface language where the present one names it; None leaves a parameter out."""
    lang = request.args.get("lang")
    keep = {"lang": lang} if lang in LANGUAGES else {}
    return url_for(endpoint, **_given(keep | values))


def here(**changes: object) -> str:
    """The present address with some of its parameters changed; None takes one out."""
    kept = {name: request.args[name] for name in KEPT_IN_ADDRESS if name in request.args}
    return url_for(request.endpoint or "pages.index", **_given(kept | (request.view_args or {}) | changes))


def _given(values: dict) -> dict:
    return {name: value for name, value in values.items() if value is not None}
