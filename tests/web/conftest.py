"""What the tests of the page and of the HTTP API share."""

from __future__ import annotations

import flask
import jinja2
import pytest


class SharedBytecode(jinja2.BytecodeCache):
    """Templates that are compiled once for all applications of the process."""

    def __init__(self) -> None:
        self._compiled: dict[str, bytes] = {}

    def load_bytecode(self, bucket: jinja2.bccache.Bucket) -> None:
        if bucket.key in self._compiled:
            bucket.bytecode_from_string(self._compiled[bucket.key])

    def dump_bytecode(self, bucket: jinja2.bccache.Bucket) -> None:
        self._compiled[bucket.key] = bucket.bytecode_to_string()


@pytest.fixture(autouse=True, scope="session")
def shared_templates():
    """Nearly every test makes an application, and each would compile its templates."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(flask.Flask, "jinja_options", {"bytecode_cache": SharedBytecode()})
        yield
