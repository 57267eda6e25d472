"""Builds over HTTP: started, watched and cancelled."""

from __future__ import annotations

import io
import json
import re
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from indexer import build_index, open_source
from storage import Home
from storage.locking import locked
from tests.support.documented import assert_documented
from tests.support.fakes import FakeEncoder, jpeg, save_photo
from tests.support.storage_examples import segment_data
from web import build_runner, create_app
from web.build_runner import CommandBuilds, source_options
from web.editing import HomeEditor
from web.error_handlers import PROBLEM
from web.errors import Busy

pytestmark = pytest.mark.usefixtures("one_decoder")
COMMAND = (sys.executable, "-m", "tests.support.fake_build")
BUILDS = "/api/v1/collections/default/builds"
SECONDS = 60


@pytest.fixture
def photos(tmp_path):
    """Two photos; the caption of one is in a file that has to be named."""
    for name in ("red", "green"):
        save_photo(tmp_path / "photos" / f"{name}.png", name)
    images = {"images": [{"id": 1, "file_name": "red.png"}], "annotations": [{"image_id": 1, "caption": "rouge"}]}
    (tmp_path / "french.json").write_text(json.dumps(images))
    return tmp_path / "photos"


@pytest.fixture
def home(tmp_path, photos):
    home = Home(tmp_path / "var")
    source = open_source(photos, None, [tmp_path / "french.json"], ["fr"])
    build_index(home, "default", source, FakeEncoder(), workers=0)
    return home


@pytest.fixture
def builds(home):
    builds = CommandBuilds(home, command=COMMAND)
    yield builds
    builds.close()


@pytest.fixture
def client(home, builds):
    return create_app(home, FakeEncoder(), editor=HomeEditor(home, builds)).test_client()


def start(client, source):
    return client.post(BUILDS, json={"source": str(source)})


def until(client, run_id, *states):
    deadline = time.monotonic() + SECONDS
    while (answer := client.get(f"{BUILDS}/{run_id}").json)["state"] not in states or answer["cancellable"]:
        assert time.monotonic() < deadline, answer
        time.sleep(0.05)
    return answer


def slowly(monkeypatch, photos):
    """Give builds twelve more photos to encode, four at a time, with a minute for each four."""
    for number in range(12):
        save_photo(photos / f"{number}.png", (number, 20 * number, 90))
    monkeypatch.setenv("PANOPTES_FAKE_SECONDS", "60")


def test_a_collection_is_brought_up_to_date(client, home, photos):
    save_photo(photos / "blue.png", "blue")

    begun = start(client, photos)

    run_id = begun.json["run_id"]
    assert begun.status_code == 202 and begun.headers["Location"] == f"{BUILDS}/{run_id}"
    assert (begun.json["state"], begun.json["source"], begun.json["cancellable"]) == ("starting", str(photos), True)
    assert_documented(begun, "/api/v1/collections/{name}/builds", "post")
    ended = until(client, run_id, "done")
    assert_documented(client.get(f"{BUILDS}/{run_id}"), "/api/v1/collections/{name}/builds/{run_id}")
    assert (ended["added"], ended["unchanged"], ended["done"], ended["total"], ended["version"]) == (1, 2, 3, 3, 2)
    assert (ended["cancellable"], ended["problem"]) == (False, None)
    assert client.get("/api/v1/status").json | {"model": 0} == {
        "collection": "default", "model": 0, "version": 2, "images": 3, "captions": 1, "generated_captions": 0,
        "languages": ["fr"], "index_fingerprint": "fake000000000001"}  # fmt: skip
    assert [run["run_id"] for run in client.get("/api/v1/collections/default/runs").json["runs"]] == [run_id, 1]


def test_the_sources_are_listed_with_how_they_were_opened(client, photos, tmp_path):
    assert_documented(client.get(BUILDS), "/api/v1/collections/{name}/builds")
    assert client.get(BUILDS).json == {"collection": "default", "sources": [
        {"source": str(photos), "format": None, "captions": [str(tmp_path / "french.json")], "languages": ["fr"], "limit": None,
         "keep_missing": False}]}  # fmt: skip


def test_what_a_source_leaves_out_is_listed_with_it(client, home, photos):
    (photos / "film.mov").write_text("x")
    build_index(home, "default", open_source(photos, exclude=["blue.*"]), FakeEncoder(), workers=0)
    assert_documented(client.get(BUILDS), "/api/v1/collections/{name}/builds")
    (source,) = client.get(BUILDS).json["sources"]
    assert source["exclude"] == ["blue.*"]
    assert {one["kind"]: one["why"] for one in source["unused"]}["MOV"] == "other_kind"


def test_a_source_is_opened_as_it_was_before():
    recorded = {"format": "coco", "captions": ["/a.json", "/b.json"], "languages": ["zh"], "limit": 5, "keep_missing": True}
    assert source_options(recorded) == ["--format", "coco", "--captions", "/a.json", "--captions", "/b.json", "--lang", "zh",
                                  "--limit", "5", "--keep-missing"]  # fmt: skip
    tables = {"image_column": "foto", "caption_column": "titel", "exclude": ["*.bak", "/old/"], "unused": [{"why": "hidden"}]}
    assert source_options(recorded | tables)[8:-3] == [
        "--image-column", "foto", "--caption-column", "titel", "--exclude", "*.bak", "--exclude", "/old/"]  # fmt: skip
    assert source_options({"format": None, "captions": [], "languages": [], "limit": None, "keep_missing": False}) == []


@pytest.mark.parametrize("source", ["/etc", "photos", "added", "", " ", "../photos", "--help"])
def test_nothing_but_a_known_source_is_ever_read(client, home, photos, source):
    refused = start(client, source)
    assert refused.status_code == (422 if source else 400) and refused.mimetype == PROBLEM
    assert str(photos) in refused.json["detail"] or not source
    assert_documented(refused, "/api/v1/collections/{name}/builds", "post")
    assert len(home.catalog.runs("default")) == 1


def test_a_path_that_only_begins_like_a_source_is_none(client, photos):
    for source in (f"{photos}/", f"{photos}/..", f"{photos}\n", str(photos.parent)):
        assert start(client, source).status_code == 422


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"source": 1}', b'{"source": null}', b'"/photos"', b"\xff"])
def test_a_request_without_a_source_is_400(client, body):
    refused = client.post(BUILDS, data=body, content_type="application/json")
    assert refused.status_code == 400 and refused.json["detail"].startswith("No source was named")


def test_a_form_of_another_site_could_name_no_source(client, photos):
    refused = client.post(BUILDS, data=json.dumps({"source": str(photos)}), content_type="text/plain")
    assert refused.status_code == 400


def test_a_build_is_cancelled_and_goes_on_with_what_it_had(client, home, photos, monkeypatch):
    slowly(monkeypatch, photos)
    monkeypatch.setenv("PANOPTES_FAKE_SECONDS", "1.5")
    run_id = start(client, photos).json["run_id"]
    encoded = time.monotonic() + SECONDS
    while not any(path.stat().st_size > 1000 for path in home.path.glob("collections/default/segments/*.journal")):
        assert time.monotonic() < encoded
        time.sleep(0.02)

    cancelled = client.delete(f"{BUILDS}/{run_id}")

    assert cancelled.status_code == 202
    assert_documented(cancelled, "/api/v1/collections/{name}/builds/{run_id}", "delete")
    ended = until(client, run_id, "interrupted")
    assert (ended["total"], ended["problem"], ended["version"]) == (14, None, None)
    monkeypatch.setenv("PANOPTES_FAKE_SECONDS", "0")
    again = until(client, start(client, photos).json["run_id"], "done")
    assert (again["added"], again["version"]) == (12, 2)
    over = client.delete(f"{BUILDS}/{run_id}")
    assert over.status_code == 409 and over.json["detail"].startswith(f"Run {run_id} has ended (interrupted)")


def test_one_build_at_a_time_and_nothing_else_meanwhile(client, home, photos, monkeypatch):
    slowly(monkeypatch, photos)
    run_id = start(client, photos).json["run_id"]

    second = start(client, photos)

    assert second.status_code == 409 and second.headers["Retry-After"] == "5"
    assert f"is being built by run {run_id}" in second.json["detail"]
    assert len(home.catalog.runs("default")) == 2
    deadline = time.monotonic() + SECONDS
    while client.get(f"{BUILDS}/{run_id}").json["state"] == "starting":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert client.get(f"{BUILDS}/{run_id}").json["total"] == 14
    assert client.delete("/api/v1/images/1").status_code == 409
    assert client.get("/api/v1/search?q=red").status_code == 200


def test_a_build_of_another_process_is_watched_and_not_cancelled(client, home, photos):
    theirs = home.catalog.start_run("default", str(photos), 40)
    home.catalog.update_run(theirs, done=10)

    with locked(home.collection("default").folder):
        seen = client.get(f"{BUILDS}/{theirs}").json
        assert (seen["state"], seen["done"], seen["total"], seen["cancellable"]) == ("running", 10, 40, False)
        refused = client.delete(f"{BUILDS}/{theirs}")
        assert refused.status_code == 409 and "not begun by this server" in refused.json["detail"]
        busy = start(client, photos)
    assert busy.status_code == 409 and busy.headers["Retry-After"] == "5" and "another command" in busy.json["detail"]
    assert home.catalog.run("default", theirs).state == "running"


def test_a_failed_build_has_its_problem(client, home, photos):
    (photos.parent / "french.json").unlink()
    ended = until(client, start(client, photos).json["run_id"], "failed")
    assert "french.json" in ended["problem"] and "\n" not in ended["problem"]
    assert client.get("/api/v1/status").json["captions"] == 1  # which a build without that file would have taken away


def test_a_build_that_is_killed_is_no_longer_running(client, builds, photos, monkeypatch):
    slowly(monkeypatch, photos)
    run_id = start(client, photos).json["run_id"]
    builds._latest.process.send_signal(signal.SIGKILL)
    assert until(client, run_id, "interrupted")["problem"].startswith("The build ended with -9")


def test_a_build_ends_with_the_server(client, home, builds, photos, monkeypatch):
    slowly(monkeypatch, photos)
    run_id = start(client, photos).json["run_id"]
    process = builds._latest.process
    builds.close(timeout_s=0.5)
    assert process.poll() is not None and home.catalog.run("default", run_id).state == "interrupted"
    builds.close()
    with locked(home.collection("default").folder):
        pass


@pytest.mark.parametrize("run_id", [99, 2**63])
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_an_unknown_run_is_404(client, run_id, method):
    refused = client.open(f"{BUILDS}/{run_id}", method=method)
    assert refused.status_code == 404 and str(run_id) in refused.json["detail"]


@pytest.mark.parametrize("name", ["nothing", "..", "a" * 99, "%00"])
def test_an_unknown_collection_is_404(client, name):
    base = f"/api/v1/collections/{name}"
    requests = [("GET", "builds"), ("POST", "builds"), ("GET", "builds/1"), ("DELETE", "builds/1"), ("GET", "failures")]
    for method, path in requests:
        refused = client.open(f"{base}/{path}", method=method, json={"source": "/"} if method == "POST" else None)
        assert refused.status_code == 404 and refused.mimetype == PROBLEM


def test_files_that_could_not_be_read_are_listed(client, home, photos):
    assert client.get("/api/v1/collections/default/failures").json == {"collection": "default", "total": 0, "failures": []}
    for name in ("blue", "green"):
        (photos / f"{name}.png").write_text("no photo")
    build_index(home, "default", open_source(photos), FakeEncoder(), workers=0)

    answer = client.get("/api/v1/collections/default/failures?limit=1")
    assert_documented(answer, "/api/v1/collections/{name}/failures")
    found = answer.json

    assert found["total"] == 2
    assert found["failures"] == [{"uri": str(photos / "blue.png"), "source": str(photos), "reason": "not_an_image",
                                  "sentence": found["failures"][0]["sentence"], "searchable": False}]  # fmt: skip
    everything = client.get("/api/v1/collections/default/failures").json["failures"]
    assert [one["searchable"] for one in everything] == [False, True]
    assert client.get("/api/v1/collections/default/failures?limit=0").status_code == 400


def test_a_server_that_was_given_no_editor_builds_nothing(home, photos):
    client = create_app(home, FakeEncoder()).test_client()
    assert start(client, photos).status_code == client.delete(f"{BUILDS}/1").status_code == 403
    assert client.get(f"{BUILDS}/1").json["cancellable"] is False


def forms(page):
    """The addresses of the forms of a page."""
    return re.findall(r'<form method="post" action="(/collection/[^"]*)">', page)


def test_the_page_brings_a_source_up_to_date_and_stops_it(client, home, photos, monkeypatch):
    slowly(monkeypatch, photos)
    page = client.get("/collection").text
    assert forms(page) == ["/collection/builds"] and f'value="{photos}"' in page and "Bring up to date" in page

    begun = client.post("/collection/builds", data={"source": str(photos)})

    assert (begun.status_code, begun.headers["Location"]) == (303, "/collection")
    run_id = home.catalog.runs("default")[0].run_id
    page = client.get("/collection?lang=zh").text
    assert forms(page) == [f"/collection/builds/{run_id}/stop?lang=zh"] and "停止" in page
    stopped = client.post(forms(page)[0])
    assert (stopped.status_code, stopped.headers["Location"]) == (303, "/collection?lang=zh")
    until(client, run_id, "interrupted")
    assert forms(client.get("/collection").text) == ["/collection/builds"]


def test_the_page_shows_why_a_build_did_not_start_or_failed(client, home, photos):
    unknown = client.post("/collection/builds", data={"source": "/etc"})
    assert unknown.status_code == 422 and "That can&#39;t be done now" in unknown.text and str(photos) in unknown.text
    assert client.post("/collection/builds/99/stop").status_code == 404
    with locked(home.collection("default").folder):
        assert client.post("/collection/builds", data={"source": str(photos)}).status_code == 409

    (photos.parent / "french.json").unlink()
    client.post("/collection/builds", data={"source": str(photos)})
    until(client, home.catalog.runs("default")[0].run_id, "failed")
    assert "The last run failed" in client.get("/collection").text and "上次任务失败" in client.get("/collection?lang=zh").text


def test_a_run_that_was_killed_elsewhere_does_not_hide_the_button(client, home, photos):
    home.catalog.start_run("default", str(photos), 40)
    assert forms(client.get("/collection").text) == ["/collection/builds"]


def test_the_page_of_a_server_that_only_reads_has_no_buttons(home, photos):
    page = create_app(home, FakeEncoder()).test_client().get("/collection").text
    assert forms(page) == [] and str(photos) in page


@pytest.mark.parametrize("finished", [False, True])
def test_a_rebuild_that_was_interrupted_is_not_dropped_by_what_comes_over_http(client, home, photos, finished):
    collection = home.collection("default")
    with collection.writer("other0000000001", rebuild=True) as writer:
        data = segment_data({writer.new_image_id(): "white"})
        segment = writer.begin_segment(16, (4, 8))
        segment.add_images(data.images, data.image_vectors, data.tokens, data.thumbnails)
        if finished:
            segment.finish()
        else:
            segment.suspend()
    files = sorted(path.name for path in (collection.folder / "segments").iterdir())

    for refused in (start(client, photos), client.post("/api/v1/images", data={"image": (io.BytesIO(jpeg("blue")), "a.jpg")})):
        assert refused.status_code == 409 and refused.json["type"] == "urn:panoptes:problem:unfinished-run"
        assert "1 photos encoded" in refused.json["detail"]

    assert sorted(path.name for path in (collection.folder / "segments").iterdir()) == files


def test_a_run_id_too_large_for_the_database_is_404(client):
    assert client.post("/collection/builds/99999999999999999999/stop").status_code == 404


def test_a_source_that_is_no_valid_text_is_unknown(client):
    refused = client.post(BUILDS, data='{"source": "\\ud800"}', content_type="application/json")

    assert refused.status_code == 422 and refused.mimetype == PROBLEM


def test_a_server_that_ends_starts_no_more_builds(client, builds, photos):
    builds.close()

    assert start(client, photos).status_code == 503


def test_a_server_ends_at_once_while_a_start_waits_for_the_process_before(home, photos):
    builds = CommandBuilds(home, command=(sys.executable, "-c", "import time; time.sleep(60)"))
    home.catalog.finish_run(builds.start("default", str(photos)), "done")  # and the process doesn't end
    with ThreadPoolExecutor() as pool:
        second = pool.submit(builds.start, "default", str(photos))
        time.sleep(0.3)
        began = time.monotonic()
        builds.close(timeout_s=1)
        assert time.monotonic() - began < 10
        with pytest.raises(Busy):
            second.result()
    assert len(home.catalog.runs("default")) == 2


def test_a_build_that_begins_while_the_server_ends_ends_with_it(home, builds, photos, monkeypatch):
    checked, go_on = Event(), Event()
    monkeypatch.setattr(build_runner, "check_free", lambda *_: (checked.set(), go_on.wait(SECONDS)))
    with ThreadPoolExecutor() as pool:
        begun = pool.submit(builds.start, "default", str(photos))
        assert checked.wait(SECONDS) and not builds.is_running(2)
        builds.close(timeout_s=0.1)
        go_on.set()
        with pytest.raises(Busy):
            begun.result()
    deadline = time.monotonic() + SECONDS
    while home.catalog.runs("default")[0].state != "interrupted":
        assert time.monotonic() < deadline
        time.sleep(0.05)
