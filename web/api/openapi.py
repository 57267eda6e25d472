"""Makes the API's document (OpenAPI 3.1) of the routes, the descriptions beside the views, and the statuses of errors."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from itertools import groupby
from typing import Any

import msgspec
from flask import Flask
from werkzeug.routing import Rule

from web.api.schemas import Problem
from web.api.spec import JSON, Answer, Description, description_of
from web.error_handlers import PROBLEM, PROGRAM_PATHS
from web.errors import status_of
from web.parameters import Parameter
from web.serving.auth import OPEN_ENDPOINTS, refusals

SUMMARY = (
    "Searches a collection of photos and captions in English and Chinese, by a sentence or by a photo. Every answer carries "
    "X-Request-ID; one that is sent is given back. Where the server has a token, every request but those of /healthz and "
    "/readyz needs it, and is answered with 401 without it, and with 403 where the token is for reading only and a photo is "
    "sent or anything is changed."
)
SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "PANOPTES_TOKEN or PANOPTES_READ_TOKEN"},
    "password": {
        "type": "http",
        "scheme": "basic",
        "description": "The same as the password, with any name: what browsers ask for",
    },
}
HEADERS = {
    401: {"WWW-Authenticate": {"description": "How to give the token", "schema": {"type": "string"}}},
    503: {"Retry-After": {"description": "Seconds after which to ask again", "schema": {"type": "integer"}}},
}
UNEXPECTED = "A fault of ours: the server's log tells more, the answer does not."
_REF = "#/components/schemas/{name}"


def document(app: Flask) -> dict:
    """The document of an application. It has the routes whose view has a description (see `spec.describe`)."""
    paths: dict[str, dict] = {}
    described = list(_described_routes(app))
    bodies = [Problem, *(body for *_, description in described for body in _bodies(description))]
    schemas, components = msgspec.json.schema_components(bodies, ref_template=_REF)
    schema_of = dict(zip(bodies, schemas, strict=True))
    for rule, method, view, description in described:
        operation = _operation(rule, method, view, description, schema_of)
        paths.setdefault(re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), {})[method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {"title": "Panoptes", "version": "1", "description": SUMMARY},
        "security": [{}, *({name: []} for name in SECURITY)],
        "paths": paths,
        "components": {"securitySchemes": SECURITY, "schemas": dict(sorted(components.items()))},
    }


def _described_routes(app: Flask) -> Iterable[tuple[Rule, str, Callable, Description]]:
    for rule in app.url_map.iter_rules():
        view = app.view_functions[rule.endpoint]
        description = description_of(view)
        if description is not None:
            for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
                yield rule, method, view, description


def _bodies(description: Description) -> list[object]:
    """The types of the JSON that a view takes and answers."""
    return [body for body in (description.body, *(answer.body for answer in description.answers)) if body is not None]


def _operation(rule: Rule, method: str, view: Callable, description: Description, schema_of: dict[object, dict]) -> dict:
    operation: dict[str, Any] = {
        "operationId": description.operation or _camel(view.__name__),
        "summary": _summary(view).removesuffix("."),
    }
    if description.takes:
        operation["parameters"] = [_parameter(one, rule) for one in description.takes]
    if description.form:
        operation["requestBody"] = _form(description.form)
    if description.body is not None:
        operation["requestBody"] = {"required": True, "content": {JSON: {"schema": schema_of[description.body]}}}
    if rule.endpoint in OPEN_ENDPOINTS:
        operation["security"] = []
    media = PROBLEM if rule.rule.startswith(PROGRAM_PATHS) else "text/html"
    responses = _problems((*description.problems, *refusals(rule.endpoint, method)), media, schema_of)
    responses |= {answer.status: _answer(answer, schema_of) for answer in description.answers}
    return operation | {"responses": {str(status): responses[status] for status in sorted(responses)}}


def _parameter(parameter: Parameter, rule: Rule) -> dict:
    in_path = parameter.name in rule.arguments
    described: dict[str, Any] = {"name": parameter.name, "in": "path" if in_path else "query", "description": parameter.meaning}
    if in_path or parameter.required:
        described["required"] = True
    if parameter.example is not None:
        described["example"] = parameter.example
    return described | {"schema": parameter.schema}


def _form(fields: tuple[Parameter, ...]) -> dict:
    schema = {
        "type": "object",
        "required": [one.name for one in fields if one.required],
        "properties": {one.name: one.schema | {"description": one.meaning} for one in fields},
    }
    return {"required": True, "content": {"multipart/form-data": {"schema": schema}}}


def _answer(answer: Answer, schema_of: dict[object, dict]) -> dict:
    if answer.media is None:
        return {"description": answer.meaning}
    content = {} if answer.body is None else {"schema": schema_of[answer.body]}
    return {"description": answer.meaning, "content": {answer.media: content}}


def _problems(kinds: Iterable[type[Exception]], media: str, schema_of: dict[object, dict]) -> dict[int, dict]:
    """The answers of errors, by status. Each is described by the first lines of its errors' docstrings."""
    content = {media: {"schema": schema_of[Problem]} if media == PROBLEM else {}}
    lines = {
        status: " ".join(dict.fromkeys(_summary(kind) for kind in same))
        for status, same in groupby(sorted(kinds, key=status_of), status_of)
    }
    lines[500] = " ".join(filter(None, (lines.get(500), UNEXPECTED)))
    return {status: {"description": line, **_headers(status), "content": content} for status, line in lines.items()}


def _headers(status: int) -> dict:
    return {"headers": HEADERS[status]} if status in HEADERS else {}


def _summary(documented: object) -> str:
    """The first paragraph of a docstring, on one line."""
    return (inspect.getdoc(documented) or "").partition("\n\n")[0].replace("\n", " ")


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(map(str.title, others))
