"""Tests of the soak benchmark: responses, not times."""

from __future__ import annotations

import asyncio
import os

import pytest

from benchmarks.load import Client, Request
from benchmarks.memory import resident_with_children
from benchmarks.soak import EXPECTED, Outcome, soak, table
from storage import Home
from tests.support.fakes import FakeEncoder, jpeg
from tests.support.galleries import build_gallery
from tests.support.serving import serve
from web import create_app


@pytest.fixture
def address(tmp_path):
    build_gallery(tmp_path)
    return serve(create_app(Home(tmp_path / "var"), FakeEncoder()))


@pytest.mark.parametrize(("clients", "seconds"), [(40, 3), pytest.param(400, 60, marks=pytest.mark.long)])
def test_many_clients_are_answered_or_asked_to_wait(address, clients, seconds):
    outcomes = asyncio.run(soak(address, clients, seconds, photo=jpeg("red"), ids=[1, 2, 3, 4, 5, 6]))

    assert {outcome.status for outcome in outcomes} <= EXPECTED
    answered = {outcome.kind for outcome in outcomes if outcome.status == 200}
    assert answered == {"new sentence", "sentence", "captions", "photo of the collection", "photo that is sent", "page",
                        "thumbnail", "status"}  # fmt: skip
    assert asyncio.run(status_of(address, "/healthz")) == 200


def test_an_unreachable_server_gives_status_0(address):
    assert asyncio.run(status_of("http://127.0.0.1:9", "/")) == 0
    assert asyncio.run(status_of(address, "/nothing")) == 404


async def status_of(address: str, path: str) -> int:
    async with Client(address) as client:
        return (await client.send(Request("any", path)))[0]


def test_the_table_has_counts_by_kind_and_status_and_times_of_200():
    lines = list(table([Outcome("page", 200, 10), Outcome("page", 503, 1), Outcome("page", 200, 30), Outcome("status", 0, 5)]))

    assert lines == [
        "| asked for | none | 200 | 503 | p50 | p95 |",
        "| --- | --- | --- | --- | --- | --- |",
        "| page | 0 | 2 | 1 | 20 ms | 29 ms |",
        "| status | 1 | 0 | 0 |  |  |",
        "| all | 1 | 2 | 1 | 20 ms | 29 ms |",
    ]


def test_memory_is_that_of_the_process_and_its_children():
    assert resident_with_children(os.getpid()) > 20e6
