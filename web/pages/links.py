"""Addresses of pages. They keep the interface language, and the present query where the page goes on with it."""

from __future__ import annotations

from typing import Any

from flask import request, url_for

from web.pages.translations import LANGUAGES

KEPT_PARAMETERS = (
    "q", "to", "top", "rerank", "offset", "cursor", "mode", "where", "fold_duplicates", "like", "sent", "lang",
)  # fmt: skip
FIRST_PAGE = {"top": None, "offset": None, "cursor": None}
"""Changes of parameters that lead to the beginning of a list."""


def link(endpoint: str, **values: Any) -> str:
    """The address of a view, with the interface language if the present address has it. None leaves a parameter out."""
    lang = request.args.get("lang")
    keep = {"lang": lang} if lang in LANGUAGES else {}
    return url_for(endpoint, **_without_none(keep | values))


def here(**changes: Any) -> str:
    """The present address with some parameters changed. None takes one out."""
    kept = {name: request.args[name] for name in KEPT_PARAMETERS if name in request.args}
    return url_for(request.endpoint or "pages.index", **_without_none(kept | (request.view_args or {}) | changes))


def _without_none(values: dict) -> dict:
    return {name: value for name, value in values.items() if value is not None}
