"""Request ids, the log of requests, and the numbers for Prometheus."""

from __future__ import annotations

import json
import logging

import pytest
from prometheus_client.parser import text_string_to_metric_families

from storage import Home
from tests.support.fakes import FakeEncoder
from tests.support.galleries import build_gallery
from web import create_app
from web.serving.request_log import log
from web.state import state_of


@pytest.fixture
def client(tmp_path):
    build_gallery(tmp_path)
    return create_app(Home(tmp_path / "var"), FakeEncoder()).test_client()


def samples(client) -> dict:
    families = text_string_to_metric_families(client.get("/metrics").text)
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


def test_an_id_that_is_sent_comes_back(client):
    assert client.get("/healthz", headers={"X-Request-ID": "abc-1.2_3"}).headers["X-Request-ID"] == "abc-1.2_3"


@pytest.mark.parametrize("sent", ["", "a b", "x" * 65, '"><script>', "a,b"])
def test_a_request_without_a_usable_id_gets_a_new_one(client, sent):
    given = client.get("/healthz", headers={"X-Request-ID": sent}).headers["X-Request-ID"]

    assert given != sent and len(given) == 16
    assert client.get("/healthz").headers["X-Request-ID"] != given


def test_an_error_names_its_request(client):
    refused = client.get("/api/v1/search", headers={"X-Request-ID": "mine"})

    assert refused.json == {
        "type": "urn:panoptes:problem:empty-query",
        "title": "Bad Request",
        "status": 400,
        "detail": "Nothing to search for: give a sentence as q, or the id of a photo as image_id.",
        "instance": "/api/v1/search",
        "request_id": "mine",
    }


def test_a_request_is_one_line_of_json_without_the_query(client, caplog):
    with caplog.at_level(logging.INFO, logger=log.name):
        client.get("/api/v1/search?q=secret+love", headers={"X-Request-ID": "mine"})

    (record,) = caplog.records
    line = json.loads(record.getMessage())
    assert (line["request_id"], line["method"], line["path"], line["status"]) == ("mine", "GET", "/api/v1/search", 200)
    assert line["ms"] > 0 and "first_stage" in line["searches_ms"][0]
    assert "secret" not in record.getMessage() and "\n" not in record.getMessage()


def test_nothing_is_logged_unless_it_is_wanted(client, caplog):
    with caplog.at_level(logging.WARNING, logger=log.name):
        client.get("/?q=red")
    assert caplog.records == []


def test_requests_and_stages_are_counted(client):
    for path in ("/api/v1/search?q=red", "/?q=red", "/api/v1/search", "/nothing/at/all"):
        client.get(path)

    counted = samples(client)

    def requests(endpoint: str, status: int) -> float:
        return counted[("panoptes_requests_total", (("endpoint", endpoint), ("method", "GET"), ("status", str(status))))]

    assert requests("api.search", 200) == requests("api.search", 400) == requests("pages.index", 200) == 1
    assert requests("none", 404) == 1
    for stage in ("encode", "first_stage", "rerank", "fetch", "total"):
        assert counted[("panoptes_stage_seconds_count", (("stage", stage),))] == 2
    assert counted[("panoptes_index_version", ())] == 1 and counted[("panoptes_model_ready", ())] == 1
    assert counted[("panoptes_searches_waiting", ())] == 0


def test_batches_of_the_encoder_are_counted(client):
    encoder = state_of(client.application).service.encoder
    for kind, rows in (("texts", 3), ("texts", 1), ("pairs", 32)):
        encoder.on_batch(kind, rows)

    counted = samples(client)

    assert counted[("panoptes_batch_rows_count", (("kind", "texts"),))] == 2
    assert counted[("panoptes_batch_rows_sum", (("kind", "texts"),))] == 4
    assert counted[("panoptes_batch_rows_sum", (("kind", "pairs"),))] == 32


def test_unknown_paths_and_methods_make_no_metrics_of_their_own(client):
    before = len(samples(client))
    for i in range(5):
        client.open(f"/random-{i}", method=f"METHOD{i}")
    assert len(samples(client)) <= before + 40  # one more row of each: method "other", endpoint "none"
    assert not any("random" in str(key) or "METHOD" in str(key) for key in samples(client))


def test_without_an_index_the_version_is_0(tmp_path):
    client = create_app(Home(tmp_path), FakeEncoder()).test_client()
    assert samples(client)[("panoptes_index_version", ())] == 0
