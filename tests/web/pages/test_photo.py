"""The page of one photo, and that of the collection, without a browser."""

from __future__ import annotations

import io
import re
from datetime import UTC, datetime, timedelta

import pytest

from indexer.text_reading import read_texts
from storage import FileRecord, Home, RunRecord, VersionRecord
from tests.support.fakes import FakeConfig, FakeEncoder, jpeg
from tests.support.galleries import build_gallery, ids_by_name
from tests.support.signs import SignReader
from web import create_app
from web.pages.collection_summary import progress, seconds_left

pytestmark = pytest.mark.usefixtures("one_decoder")


@pytest.fixture
def gallery(tmp_path):
    return build_gallery(tmp_path)


@pytest.fixture
def ids(gallery):
    return ids_by_name(gallery)


@pytest.fixture
def client(tmp_path, gallery):
    return create_app(Home(tmp_path / "var"), FakeEncoder(config=FakeConfig(match_calibration=(1.0, 0.0, 2.0)))).test_client()


def text_of(page: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


def links(page: str, relation: str) -> list[str]:
    return [link.replace("&amp;", "&") for link in re.findall(rf'rel="{relation}" href="([^"]+)"', page)]


def test_a_photo_by_itself(client, ids):
    page = client.get(f"/photo/{ids['green']}").text

    text = text_of(page)
    for phrase in ("a green meadow", "绿色的草地", "64 × 96", "green.jpg", "Captions of the collection that fit", "its own"):
        assert phrase in text
    assert f'src="/images/{ids["green"]}" width="64" height="96"' in page
    assert "Why it was found" not in text and f'href="/similar/{ids["green"]}"' in page


def test_text_read_in_a_photo_is_shown_at_its_place(tmp_path, client, gallery, ids):
    read_texts(Home(tmp_path / "var"), "default", SignReader)

    page = client.get(f"/photo/{ids['green']}?q=exit&mode=lexical").text
    assert "Text in the photo" in page and '<li lang="zh"><mark>出口 EXIT</mark></li>' in page
    assert '<polygon points="16.0,24.0 48.0,24.0 48.0,48.0 16.0,48.0" class="found"/>' in page
    assert 'id="show-texts" checked' in page

    by_itself = client.get(f"/photo/{ids['green']}").text
    assert '<li lang="zh">出口 EXIT</li>' in by_itself and 'id="show-texts">' in by_itself
    assert "Text in the photo" not in client.get(f"/photo/{ids['blue']}").text


def test_a_found_photo_shows_why_and_links_to_its_neighbours(client, ids):
    results = client.get("/?q=red&rerank=3").text
    address = next(a.replace("&amp;", "&") for a in re.findall(r'href="(/photo/[^"]+)"', results))
    page = client.get(address).text

    text = text_of(page)
    assert "Strong match: 95 % likely to fit" in text and "In the end 1" in text
    assert 'href="/?q=red&amp;rerank=3" data-back' in page
    after = client.get(links(page, "next")[0]).text
    assert links(after, "prev")[0].startswith(f"/photo/{ids['red']}?") and "In the end 2" in text_of(after)
    assert not [one for one in links(page, "prev") if "/photo/" in one]


@pytest.mark.parametrize("at", ["", "&at=1", "&at=5", "&at=999"])
def test_the_rank_is_found_whatever_rank_the_address_has(client, ids, at):
    results = client.get("/api/v1/search?q=red").json["hits"]
    hit = next(hit for hit in results if hit["id"] == ids["white"])

    assert f"In the end {hit['rank']} {hit['score']:.3f}" in text_of(client.get(f"/photo/{ids['white']}?q=red{at}").text)


def test_a_photo_that_the_filter_leaves_out_was_not_found(client, ids):
    text = text_of(client.get(f"/photo/{ids['red']}?q=red&where=width+>+100").text)
    assert "does not lead to this photo" in text


def test_below_the_last_page_only_the_similarity_is_shown(client, monkeypatch):
    last = client.get("/api/v1/search?q=red").json["hits"][-1]["id"]
    monkeypatch.setattr("web.pages.photo.MOST_TOP", 2)
    text = text_of(client.get(f"/photo/{last}?q=red").text)
    assert "Not among the first 500 results" in text and "In the end" not in text


@pytest.mark.parametrize("mode", ["lexical", "hybrid", "vector"])
def test_every_mode_is_explained(client, ids, mode):
    text = text_of(client.get(f"/photo/{ids['red']}?q=red&mode={mode}").text)

    assert ("Words of its captions" in text) == (mode != "vector")
    assert ("similarity of the vectors" in text) == (mode != "lexical")


def test_a_found_photo_has_an_overlay_for_each_word(client, ids):
    page = client.get(f"/photo/{ids['red']}?q=a+red+wall").text

    assert "Where its words are seen" in page and page.count('<svg id="shade-') == 1
    assert "#look-1:checked) #shade-1{display:block}" in page


@pytest.mark.parametrize("query", ["", "?like=2"])
def test_without_words_there_are_no_overlays(client, ids, query):
    assert "Where its words are seen" not in client.get(f"/photo/{ids['red']}{query}").text


def test_a_model_without_attention_maps_shows_no_overlays(tmp_path, gallery, ids):
    client = create_app(Home(tmp_path / "var"), FakeEncoder(config=FakeConfig(token_grid=None))).test_client()

    page = client.get(f"/photo/{ids['red']}?q=red")

    assert page.status_code == 200 and "Where its words are seen" not in page.text and "Why it was found" in page.text


def test_found_by_a_photo_and_words(client, ids):
    sent = client.post("/by-image", data={"image": (io.BytesIO(jpeg("red")), "a.jpg"), "q": "3*green"}).headers["Location"]
    assert "q=3*green" in sent
    results = client.get(sent).text
    assert "Results for this photo with “3*green”" in results
    address = next(a.replace("&amp;", "&") for a in re.findall(r'href="(/photo/[^"]+)"', results))

    page = client.get(address)

    assert page.status_code == 200 and f'href="{sent}" data-back' in page.text
    assert "sent=" in links(page.text, "next")[0]


@pytest.mark.parametrize("path", ["/photo/4711", "/photo/" + "9" * 30, "/photo/1?sent=gone", "/photo/1?like=4711", "/photo/-1"])
def test_an_unknown_photo_is_404(client, path):
    assert client.get(path).status_code == 404


@pytest.mark.parametrize("query", ["q=red&at=many", "like=x", "q=-red", "q=red&where=(", "q=red&rerank=900"])
def test_a_bad_query_is_400(client, query):
    assert client.get(f"/photo/1?{query}").status_code == 400


def test_while_the_model_loads_the_photo_is_there(tmp_path, gallery):
    import threading

    may_load = threading.Event()
    client = create_app(Home(tmp_path / "var"), lambda: may_load.wait(10) and FakeEncoder()).test_client()

    page = client.get("/photo/1?q=red")

    assert page.status_code == 200 and "Its captions" in page.text
    may_load.set()


def test_the_page_of_the_collection_shows_counts_failures_and_runs(tmp_path, gallery, client):
    catalog = Home(tmp_path / "var").catalog
    catalog.record_version("default", VersionRecord(1, "fake000000000001", 6, 10, "2026-05-01T10:00:00+00:00"))
    bad = FileRecord("/photos/<b>.jpg", "/photos", "failed", reason="damaged", sentence="/photos/<b>.jpg is damaged")
    catalog.record_files("default", [bad])
    catalog.finish_run(catalog.start_run("default", "/photos", 7), "done", done=7, added=6, failed=1, version=1)

    page = client.get("/collection").text

    text = text_of(page)
    for phrase in ("6 photos", "10 captions", "Could not be read (1)", "2026-05-01 10:00", "Nothing is being indexed."):
        assert phrase in text
    assert "/photos/&lt;b&gt;.jpg is damaged" in page and "<b>.jpg" not in page
    assert 'aria-label="Captions by language: English 6, Chinese 4"' in page
    assert client.get("/collection?lang=zh").status_code == 200


def test_a_collection_that_is_not_there_yet(tmp_path):
    page = create_app(Home(tmp_path / "nowhere"), FakeEncoder()).test_client().get("/collection")

    assert page.status_code == 200 and "Nothing is indexed yet" in page.text
    assert not (tmp_path / "nowhere").exists()


def test_progress_and_time_left():
    now = datetime(2026, 5, 1, 10, 0, 30, tzinfo=UTC)
    run = RunRecord(1, "/photos", "running", (now - timedelta(seconds=30)).isoformat(), total=400, done=100)

    assert progress(run) == 0.25 and seconds_left(run, now) == 90
    assert progress(RunRecord(1, "s", "running", run.started_at)) == 0.0
    assert seconds_left(RunRecord(1, "s", "done", run.started_at, total=4, done=4), now) is None
