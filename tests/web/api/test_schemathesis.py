"""schemathesis sends requests within and beyond the limits of the API's document: every answer must be documented."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks

from storage import Home
from tests.support.documented import the_document
from tests.support.fakes import FakeEncoder
from tests.support.galleries import build_gallery
from tests.support.serving import serve
from web import create_app
from web.build_runner import CommandBuilds
from web.editing import HomeEditor

pytestmark = pytest.mark.usefixtures("one_decoder")
CHECKS = [
    not_a_server_error, checks.status_code_conformance, checks.content_type_conformance, checks.response_headers_conformance,
    checks.response_schema_conformance, checks.unsupported_method, checks.negative_data_rejection,
]  # fmt: skip
WITHIN, BEYOND = GenerationMode.POSITIVE, GenerationMode.NEGATIVE
OPERATIONS = [
    pytest.param(path, method.upper(), mode, id=f"{method} {path} {mode.value}")
    for path, methods in the_document()["paths"].items()
    for method, one in methods.items()
    for mode in (WITHIN, BEYOND)
    if mode is WITHIN or one.keys() & {"parameters", "requestBody"}  # of nothing there is nothing wrong
]
bounded = settings(max_examples=25, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck),
                   phases=[Phase.generate, Phase.shrink])  # fmt: skip


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    folder = tmp_path_factory.mktemp("asked-by-document")
    build_gallery(folder)
    home = Home(folder / "var")
    return create_app(home, FakeEncoder(), editor=HomeEditor(home, CommandBuilds(home)))


@pytest.fixture(scope="module")
def by_document(app):
    return schemathesis.openapi.from_wsgi("/api/v1/openapi.json", app)


@pytest.mark.parametrize(("path", "method", "mode"), OPERATIONS)
def test_every_answer_is_documented(by_document, path, method, mode):
    @bounded
    @given(by_document[path][method].as_strategy(generation_mode=mode))
    def ask(case):
        case.call_and_validate(checks=CHECKS)

    ask()


@pytest.mark.parametrize(("which", "left_out"), [
    ("--exclude-name", "positive_data_acceptance"), ("--include-name", "positive_data_acceptance,negative_data_rejection"),
], ids=["all but adding", "adding"])  # fmt: skip
def test_the_server_passes_the_checks_of_schemathesis(app, tmp_path, which, left_out):
    """Run all phases and checks of schemathesis but two.

    Left out are that all data which the schemas allow is accepted, for schemas can't say which sentences and filters can be
    parsed; and, where photos are added, that other data is rejected, for a form's fields are always text, so a list of texts
    is never wrong.
    """
    command = [
        sys.executable, "-m", "schemathesis.cli", "run", f"{serve(app)}/api/v1/openapi.json", "--no-color",
        "--phases", "examples,coverage,fuzzing,stateful", "--max-examples", "20", "--generation-deterministic",
        "--checks", "all", "--exclude-checks", left_out, which, "POST /api/v1/images",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120,
                          env=os.environ | {"PYTHONIOENCODING": "utf-8"})  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
