"""The API's document: made of routes, parameters and errors, and of types that the answers are held to."""

from __future__ import annotations

import dataclasses
import re
from typing import get_args, get_type_hints

import pytest
from flask import Flask
from jsonschema_rs import ValidationError

from search.query.query import MODES
from search.query.terms import Term
from search.result import CaptionHit, CaptionText, ImageHit
from search.retrieval.calibration import WORDS
from storage import Home, VersionRecord
from storage.catalog.catalog import DONE, FAILED, INTERRUPTED, RUNNING, STARTING, RunRecord
from tests.support.documented import assert_documented, the_document, validate
from tests.support.fakes import FakeEncoder
from tests.support.galleries import build_gallery
from web import create_app
from web.api import schemas
from web.api.openapi import document
from web.api.spec import Answer, describe
from web.error_handlers import PROBLEM
from web.errors import Busy, NotKept, TooLarge
from web.parameters import OPTIONS, IntegerWithDefault, Text, api_options


@pytest.fixture
def app(tmp_path):
    build_gallery(tmp_path)
    return create_app(Home(tmp_path / "var"), FakeEncoder())


@pytest.fixture
def client(app):
    return app.test_client()


def test_an_operation_is_made_of_the_description_of_its_view():
    app = Flask("described")

    @app.post("/api/v1/albums/<name>")
    @describe(
        Answer(201, "It is there now", schemas.State),
        takes=(Text("name", "What it is called", 40), IntegerWithDefault("most", "How many at most", 1, 9, 5)),
        problems=(Busy, NotKept, TooLarge),
    )
    def add_an_album(name):
        """Make an album.

        This is not for users of the API."""

    made = document(app)["paths"]["/api/v1/albums/{name}"]["post"]

    assert (made["operationId"], made["summary"]) == ("addAnAlbum", "Make an album")
    name, most = made["parameters"]
    assert (name["in"], name["required"], name["schema"]) == ("path", True, {"type": "string", "maxLength": 40})
    assert (most["in"], most["schema"]) == ("query", {"type": "integer", "minimum": 1, "maximum": 9, "default": 5})
    assert list(made["responses"]) == ["201", "401", "403", "404", "413", "421", "500", "503"]
    body = made["responses"]["201"]["content"]["application/json"]["schema"]
    assert body == {"$ref": "#/components/schemas/State"}
    busy = made["responses"]["503"]
    assert busy["description"] == "More ask at once than can be answered soon, or than this machine has room for."
    assert "Retry-After" in busy["headers"]
    assert busy["content"] == {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}}


def test_a_view_without_a_description_is_not_in_it():
    app = Flask("plain")
    app.get("/api/v1/secret")(lambda: "")
    assert document(app)["paths"] == {}


def test_every_route_for_programs_is_described_and_no_page(app):
    described = {(path, method.upper()) for path, methods in the_document()["paths"].items() for method in methods}
    routes = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method)
        for rule in app.url_map.iter_rules()
        if rule.endpoint.partition(".")[0] in ("api", "changes", "builds", "media", "health")
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    assert routes == described


def test_operation_ids_are_unique_and_references_exist():
    text = repr(the_document())
    names = [one["operationId"] for methods in the_document()["paths"].values() for one in methods.values()]
    assert len(names) == len(set(names))
    assert set(re.findall(r"#/components/schemas/(\w+)", text)) <= set(the_document()["components"]["schemas"])


def test_answers_are_as_described(client, tmp_path):
    catalog = Home(tmp_path / "var").catalog
    catalog.record_version("default", VersionRecord(1, "fake000000000001", 6, 10, "2026-05-01T10:00:00+00:00"))
    catalog.update_run(catalog.start_run("default", "/photos", 7), done=3)

    for path in ("/api/v1/status", "/api/v1/collections", "/api/v1/openapi.json", "/healthz", "/readyz"):
        assert_documented(client.get(path), path)
    for what in ("versions", "runs"):
        found = client.get(f"/api/v1/collections/default/{what}")
        assert_documented(found, f"/api/v1/collections/{{name}}/{what}")
        assert len(found.json[what]) == 1
        for name in ("nothing", "..", "a" * 99, "%00"):
            missing = client.get(f"/api/v1/collections/{name}/{what}")
            assert missing.status_code == 404 and missing.mimetype == PROBLEM
    assert client.get("/api/v1/collections/default/runs").json["runs"][0]["done"] == 3
    assert client.get("/api/v1/collections/default/runs?limit=0").status_code == 400
    assert client.get("/metrics").mimetype in the_document()["paths"]["/metrics"]["get"]["responses"]["200"]["content"]


@pytest.mark.parametrize("spoil", [
    lambda json: json.pop("total"), lambda json: json["hits"][0].update(rank="first"), lambda json: json.update(more=1),
    lambda json: json.update(to="captions"), lambda json: json["hits"][0].update(match_probability=1.1),
])  # fmt: skip
def test_an_answer_of_another_shape_would_be_noticed(client, spoil):
    schema = the_document()["paths"]["/api/v1/search"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    answer = client.get("/api/v1/search?q=red").json
    validate(answer, schema)
    spoil(answer)
    with pytest.raises(ValidationError):
        validate(answer, schema)


@pytest.mark.parametrize(("schema", "kind", "added"), [
    (schemas.ImageHit, ImageHit, {"thumbnail_url", "image_url"}), (schemas.CaptionHit, CaptionHit, set()),
    (schemas.Caption, CaptionText, set()), (schemas.Term, Term, set()), (schemas.Version, VersionRecord, set()),
    (schemas.Run, RunRecord, set()), (schemas.Build, RunRecord, {"collection", "cancellable", "problem"}),
])  # fmt: skip
def test_schemas_have_the_fields_of_the_classes_that_answers_are_made_of(schema, kind, added):
    assert set(schema.__struct_fields__) == {field.name for field in dataclasses.fields(kind)} | added


@pytest.mark.parametrize(("schema", "field", "words"), [
    (schemas.Run, "state", (STARTING, RUNNING, DONE, FAILED, INTERRUPTED)), (schemas.ImageResult, "mode", MODES),
    (schemas.ImageResult, "relevance", (*WORDS, None)),
])  # fmt: skip
def test_the_words_of_a_schema_are_those_that_the_code_answers_with(schema, field, words):
    literal = get_type_hints(schema)[field]
    assert set(get_args(literal)) == set(words)


class Recorder(dict):
    """Parameters that record which of them are read."""

    def get(self, name, default=None):
        self[name] = ""
        return default


def test_the_described_parameters_are_those_that_are_read():
    read = Recorder()
    api_options(read)

    assert {one.name for one in OPTIONS} == set(read)
    described = the_document()["paths"]["/api/v1/search"]["get"]["parameters"]
    assert {one["name"] for one in described} == {"q", "image_id", *read}


def test_described_limits_and_defaults_are_the_real_ones(client):
    described = {one["name"]: one["schema"] for one in the_document()["paths"]["/api/v1/search"]["get"]["parameters"]}
    for name in ("top", "rerank", "offset", "budget_ms"):
        for at in ("minimum", "maximum"):
            assert client.get(f"/api/v1/search?q=red&{name}={described[name][at]}").status_code == 200
        assert client.get(f"/api/v1/search?q=red&{name}={described[name]['maximum'] + 1}").status_code == 400
    for name in ("to", "mode"):
        for word in described[name]["enum"]:
            assert client.get(f"/api/v1/search?q=red&{name}={word}").json[name] == word
        assert client.get("/api/v1/search?q=red").json[name] == described[name]["default"]
    for name in ("q", "where", "cursor"):
        longer = "a" * (described[name]["maxLength"] + 1)
        assert client.get("/api/v1/search", query_string={"q": "red", name: longer}).status_code == 400


def test_the_document_is_a_page_too(client):
    page = client.get("/api").text
    for path, methods in the_document()["paths"].items():
        for method, one in methods.items():
            assert f"{method.upper()} {path}" in page and all(f"<b>{status}</b>" in page for status in one["responses"])
    for name in the_document()["components"]["schemas"]:
        assert f'id="{name}"' in page
    assert "Never rises down the list" in page and 'list of <a href="#ImageHit">' in page
