"""Holds an answer to the API's document."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import jsonschema_rs

from storage import Home
from tests.support.fakes import FakeEncoder
from web import create_app
from web.state import state_of


@cache
def the_document() -> dict:
    """The document that every application has."""
    return state_of(create_app(Home(Path("nowhere")), FakeEncoder())).document


def assert_documented(response, path: str, method: str = "get") -> None:
    """That the document has the answer's status, media type, headers and shape.

    Args:
        response: of a test client.
        path: as the document has it, such as `/images/{image_id}`.
        method: in small letters.
    """
    answer = the_document()["paths"][path][method]["responses"][str(response.status_code)]
    assert response.mimetype in answer["content"], response.mimetype
    assert all(name in response.headers for name in answer.get("headers", {}))
    validate(response.json, answer["content"][response.mimetype]["schema"])


def validate(value: object, schema: dict) -> None:
    """Raises jsonschema_rs.ValidationError where a value is not what a schema of the document says."""
    jsonschema_rs.Draft202012Validator(schema | {"components": the_document()["components"]}).validate(value)
