from __future__ import annotations

import io
import re
import shlex
import sys
from pathlib import Path

import pytest

from storage import Home
from tests.support.captioners import ColourWriter
from tests.support.commands import ROOT
from tests.support.documented import assert_documented
from tests.support.fakes import FakeConfig, FakeEncoder, jpeg, photo
from tests.support.galleries import build_gallery, ids_by_name
from tests.support.raw_files import dng
from web import create_app
from web.app import FORM_AROUND_UPLOAD
from web.build_runner import CommandBuilds
from web.editing import HomeEditor
from web.error_handlers import PROBLEM
from web.limits import LARGEST_UPLOAD, LARGEST_UPLOAD_MB, MB
from web.serving.server import LARGEST_BODY

pytestmark = pytest.mark.usefixtures("one_decoder")


@pytest.fixture
def gallery(tmp_path):
    return build_gallery(tmp_path)


@pytest.fixture
def app(tmp_path, gallery):
    return create_app(Home(tmp_path / "var"), FakeEncoder())


@pytest.fixture
def client(app):
    return app.test_client()


def upload(client, content: bytes, name: str = "mine.jpg", **more):
    return client.post("/api/v1/search", data={"image": (io.BytesIO(content), name), **more})


def test_a_sentence(client, gallery):
    response = client.get("/api/v1/search", query_string={"q": "红色", "top": 2})

    assert response.status_code == 200
    hit = response.json["hits"][0]
    red = ids_by_name(gallery)["red"]
    assert response.json["query"] == "红色" and len(response.json["hits"]) == 2
    assert (hit["id"], hit["thumbnail_url"], hit["image_url"]) == (red, f"/thumbnails/{red}", f"/images/{red}")
    assert "红色的墙" in response.text  # as UTF-8, not as escapes
    assert_documented(response, "/api/v1/search")


def test_captions(client, gallery):
    response = client.get("/api/v1/search?q=green&to=captions&top=1")

    hit = response.json["hits"][0]
    green = ids_by_name(gallery)["green"]
    assert hit["text"] in ("a green meadow", "绿色的草地")
    assert hit["image"]["thumbnail_url"] == f"/thumbnails/{green}"
    assert_documented(response, "/api/v1/search")


def test_a_photo_of_the_collection(client, gallery):
    red = ids_by_name(gallery)["red"]

    response = client.get(f"/api/v1/search?image_id={red}")

    assert response.json["image_id"] == red and response.json["query"] is None
    assert red not in [hit["id"] for hit in response.json["hits"]]
    assert_documented(response, "/api/v1/search")


@pytest.mark.parametrize(("to", "first"), [("images", "blue.png"), ("captions", "blue.png")])
def test_a_photo_that_is_sent(client, to, first):
    response = upload(client, jpeg("blue"), to=to, top=1)

    assert response.status_code == 200
    hit = response.json["hits"][0]
    assert Path((hit if to == "images" else hit["image"])["uri"]).name == first
    assert response.json["query"] == "mine.jpg"
    assert_documented(response, "/api/v1/search", "post")


def test_words_and_photos_together(client, gallery):
    ids = ids_by_name(gallery)

    both = client.get("/api/v1/search", query_string={"q": "3*green", "image_id": ids["red"], "rerank": 0})
    sent = upload(client, jpeg("blue"), q="photo -red", image_id=ids["black"])

    assert both.json["hits"][0]["id"] == ids["green"] and ids["red"] not in [hit["id"] for hit in both.json["hits"]]
    assert [(term["kind"], term["weight"]) for term in sent.json["terms"]] == [("photo", 1), ("words", -1), ("image", 1)]
    assert_documented(both, "/api/v1/search")
    assert_documented(sent, "/api/v1/search", "post")


@pytest.mark.parametrize(("offset", "word"), [(2.0, "strong"), (-2.0, "weak"), (-9.0, "none")])
def test_relevance_is_that_of_the_best_hit(tmp_path, gallery, offset, word):
    encoder = FakeEncoder(config=FakeConfig(match_calibration=(1.0, 0.0, offset)))
    client = create_app(Home(tmp_path / "var"), encoder).test_client()

    for at in (0, 4):
        response = client.get(f"/api/v1/search?q=red&rerank=3&top=4&offset={at}")
        assert response.json["relevance"] == word
        assert_documented(response, "/api/v1/search")
    first = client.get("/api/v1/search?q=red&rerank=3").json["hits"]
    assert 0 < first[0]["match_probability"] < 1 and first[3]["match_probability"] is None


def test_without_a_calibration_relevance_is_null(client):
    answer = client.get("/api/v1/search?q=red").json

    assert answer["relevance"] is None and answer["hits"][0]["match_probability"] is None


def test_pages_follow_each_other(client):
    whole = client.get("/api/v1/search?q=red&top=6&rerank=2").json["hits"]
    parts = [client.get(f"/api/v1/search?q=red&top=3&offset={at}&rerank=2").json["hits"] for at in (0, 3)]

    assert parts[0] + parts[1] == whole


def test_with_a_budget_pages_go_by_cursor(client):
    first = client.get("/api/v1/search?q=red&top=2&budget_ms=60000")
    assert_documented(first, "/api/v1/search")
    second = client.get("/api/v1/search", query_string={"q": "red", "top": 9, "cursor": first.json["cursor"], "budget_ms": 0})
    assert (first.json["reranked"], second.json["reranked"]) == (6, 6) and len(second.json["hits"]) == 4
    assert client.get("/api/v1/search?q=green&budget_ms=0").json["reranked"] == 0

    refused = client.get("/api/v1/search?q=red&offset=2&budget_ms=100")
    assert refused.status_code == 400 and "cursor" in refused.json["detail"]
    assert client.get("/api/v1/search?q=red&budget_ms=soon").json["detail"].startswith("budget_ms is 'soon'")


def test_a_repeated_query_is_marked_as_cached(client):
    first, second = (client.get("/api/v1/search?q=red") for _ in range(2))
    assert "cached" not in first.json["took_ms"] and "cached" in second.json["took_ms"]
    assert second.json["hits"] == first.json["hits"]
    assert_documented(second, "/api/v1/search")


def test_a_hit_says_which_of_its_captions_fits_best(client, gallery):
    hit = client.get("/api/v1/search", query_string={"q": "红", "top": 1, "mode": "lexical"}).json["hits"][0]
    assert next(caption["text"] for caption in hit["captions"] if caption["id"] == hit["best_caption"]) == "红色的墙"
    assert (hit["lexical_rank"], hit["rerank_rank"], hit["hub_cost"]) == (1, None, None) and hit["lexical_score"] > 0
    black = client.get("/api/v1/search?q=black&top=1").json["hits"][0]
    assert black["best_caption"] is None and black["rerank_rank"] == 1 and black["rerank_score"] == black["score"]


def test_an_explanation_has_a_heat_map_for_each_word(client, gallery):
    red = ids_by_name(gallery)["red"]
    response = client.get("/api/v1/explain", query_string={"q": "red wall", "id": red})

    assert response.status_code == 200 and (response.json["id"], response.json["grid"]) == (red, [1, 3])
    assert [word["word"] for word in response.json["words"]] == ["red"]
    assert_documented(response, "/api/v1/explain")


@pytest.mark.parametrize(("what", "status", "says"), [
    ("id=1", 400, "Nothing to search for"), ("q=red", 400, "There is no photo to explain: give its id."),
    ("q=red&id=x", 400, "id is 'x'"), ("q=red&id=4711", 404, "4711"), ("q=@1&id=1", 400, "Only a sentence can be shown"),
])  # fmt: skip
def test_a_query_that_cannot_be_explained_is_an_error(client, what, status, says):
    response = client.get(f"/api/v1/explain?{what}")
    assert response.status_code == status and says in response.json["detail"]
    assert_documented(response, "/api/v1/explain")


def test_a_model_without_attention_maps_is_an_error(tmp_path, gallery):
    client = create_app(Home(tmp_path / "var"), FakeEncoder(config=FakeConfig(token_grid=None))).test_client()
    response = client.get("/api/v1/explain?q=red&id=1")
    assert response.status_code == 400 and response.json["detail"].startswith("fake can't show where")
    assert_documented(response, "/api/v1/explain")


def test_a_cursor_leads_to_the_next_page_of_this_version(client, tmp_path):
    first = client.get("/api/v1/search?q=red&top=4").json
    second = client.get("/api/v1/search", query_string={"q": "red", "top": 9, "cursor": first["cursor"]})
    assert [hit["rank"] for hit in second.json["hits"]] == [5, 6] and second.json["cursor"] is None
    assert_documented(second, "/api/v1/search")

    build_gallery(tmp_path)

    outdated = client.get("/api/v1/search", query_string={"q": "red", "cursor": first["cursor"]})
    assert outdated.status_code == 410 and "version 2 is searched now" in outdated.json["detail"]
    assert_documented(outdated, "/api/v1/search")


def test_a_filter_and_folding(client, tmp_path):
    build_gallery(tmp_path)  # every photo is there twice now
    answer = client.get("/api/v1/search", query_string={"q": "red", "fold_duplicates": "true", "where": "width = 96"})
    assert [len(hit["duplicates"]) for hit in answer.json["hits"]] == [1, 1, 1] and answer.json["total"] == 6
    assert_documented(answer, "/api/v1/search")


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ("q=red&where=width", "The filter can't be used at character 6 (its end): expected"),
        ("q=red&where=wide%3D1", "The filter can't be used at character 1 ('wide=1'): no column is called wide"),
        ("q=red&cursor=abc", "That is no cursor"),
        ("q=red&fold_duplicates=much", "fold_duplicates is 'much': it must be true, false, or a cosine above 0"),
        ("q=red&fold_duplicates=0.0", "fold_duplicates is '0.0'"),
        ("", "Nothing to search for: give a sentence as q, or the id of a photo as image_id."),
        ("q=", "Nothing to search for: the sentence is empty."),
        ("q=+%09", "Nothing to search for: the sentence is empty."),
        ("q=sea+-%22dog", "The query can't be read at character 5 ('-\"dog'): the quotation"),
        ("q=-red", "The query can't be read at character 1 ('-red'): there is only what to avoid"),
        ("q=red+-red", "The parts of the query cancel each other out"),
        ("q=red&to=videos", "Can't search to 'videos': choose images or captions."),
        ("q=red&top=ten", "top is 'ten': it must be a whole number from 1 to 500."),
        ("q=red&top=0", "top is '0': it must be a whole number from 1 to 500."),
        ("q=red&top=501", "top is '501': it must be a whole number from 1 to 500."),
        ("q=red&rerank=-1", "rerank is '-1': it must be a whole number from 0 to 256."),
        ("q=red&rerank=%C2%B2", "rerank is '²': it must be a whole number from 0 to 256."),
        ("q=red&offset=1e3", "offset is '1e3': it must be a whole number from 0 to 1000000000."),
        ("image_id=99999999999999999999", "image_id is '99999999999999999999': it must be a whole number from 0"),
        ("image_id=9223372036854775808", "image_id is '9223372036854775808': it must be"),
        ("q=" + "a" * 2001, "The sentence is 2001 characters long: 2000 is the most."),
    ],
)
def test_a_wrong_parameter_is_400_with_one_line(client, parameters, says):
    response = client.get(f"/api/v1/search?{parameters}")

    assert response.status_code == 400
    assert response.json["detail"].startswith(says) and "\n" not in response.json["detail"]
    assert_documented(response, "/api/v1/search")


@pytest.mark.parametrize("q", ["%FF%FE", "%00", "%ED%A0%80", "%F0%9F%A6%9A", "<script>", "'; --", "a" * 2000])
def test_odd_sentences_are_answered(client, q):
    assert client.get(f"/api/v1/search?q={q}").status_code == 200


def test_an_unknown_photo_is_404(client):
    response = client.get("/api/v1/search?image_id=4711")

    assert response.status_code == 404 and "4711" in response.json["detail"]
    assert_documented(response, "/api/v1/search")


@pytest.mark.parametrize(
    "content", [b"not a photo", b"<svg xmlns='http://www.w3.org/2000/svg'/>", jpeg("red")[:200], b"\x89PNG\r\n\x1a\n"]
)
def test_an_unreadable_photo_is_400_with_one_line(client, content):
    response = upload(client, content)

    assert response.status_code == 400
    assert "the uploaded photo" in response.json["detail"] and "\n" not in response.json["detail"]
    assert_documented(response, "/api/v1/search", "post")


@pytest.mark.parametrize("data", [{}, {"image": "a string"}, {"image": (io.BytesIO(b""), "empty.jpg")}])
def test_no_photo_is_400(client, data):
    response = client.post("/api/v1/search", data=data, content_type="multipart/form-data")

    assert response.status_code == 400
    assert response.json["detail"] == "No photo was sent: choose a file for the form field 'image'."


@pytest.mark.parametrize("too_large", ["photo", "request"])
def test_a_photo_beyond_the_limit_is_413(client, monkeypatch, too_large):
    if too_large == "photo":
        monkeypatch.setattr("web.uploads.LARGEST_UPLOAD", 2**20)
    else:
        monkeypatch.setitem(client.application.config, "MAX_CONTENT_LENGTH", 2**20)
    response = upload(client, jpeg("red").ljust(2**20 + 1, b"\0"))

    assert response.status_code == 413
    assert response.json["detail"] == "The photo is too large: 100 MB is the most."
    assert_documented(response, "/api/v1/search", "post")


def test_a_raw_file_as_large_as_cameras_write_them_is_searched_with(client):
    content = dng(photo("red", (640, 480)), width=6000, height=4000)
    assert 40 * MB < len(content) < LARGEST_UPLOAD
    found = upload(client, content, "IMG_1.dng", top=1)
    assert found.status_code == 200 and found.json["hits"][0]["uri"].endswith("red.jpg")


def test_one_number_says_everywhere_how_large_a_photo_may_be(client):
    said = f"{LARGEST_UPLOAD_MB} MB"
    assert LARGEST_UPLOAD == LARGEST_UPLOAD_MB * MB == client.application.config["MAX_CONTENT_LENGTH"] - FORM_AROUND_UPLOAD
    assert LARGEST_UPLOAD + FORM_AROUND_UPLOAD < LARGEST_BODY, "else the server below would answer, and say less"
    page, document = client.get("/").text, client.get("/api/v1/openapi.json").text
    assert page.count(said) == 2 and f'data-largest-upload-mb="{LARGEST_UPLOAD_MB}"' in page and said in document
    assert (ROOT / "docs" / "api.md").read_text("utf-8").count(said) == 3


def test_status(client, gallery):
    response = client.get("/api/v1/status")

    assert response.json == {
        "collection": "default",
        "model": {"state": "ready", "name": "fake", "fingerprint": "fake000000000001"},
        "version": 1,
        "images": 6,
        "captions": 10,
        "generated_captions": 0,
        "languages": ["en", "zh"],
        "index_fingerprint": "fake000000000001",
    }
    assert_documented(response, "/api/v1/status")


def test_nothing_indexed(tmp_path):
    client = create_app(Home(tmp_path), FakeEncoder()).test_client()

    response = client.get("/api/v1/search?q=red")
    assert response.status_code == 404 and "python manage.py build-index" in response.json["detail"]
    status = client.get("/api/v1/status")
    assert (status.json["version"], status.json["images"], status.json["index_fingerprint"]) == (0, 0, None)
    assert_documented(status, "/api/v1/status")


def test_a_collection_that_comes_later_is_searched(tmp_path):
    client = create_app(Home(tmp_path / "var"), FakeEncoder()).test_client()
    assert client.get("/api/v1/search?q=red").status_code == 404

    build_gallery(tmp_path)

    assert client.get("/api/v1/search?q=red").json["total"] == 6


def test_an_index_of_other_weights_is_503(tmp_path, gallery):
    client = create_app(Home(tmp_path / "var"), FakeEncoder("other00000000002")).test_client()

    response = client.get("/api/v1/search?q=red")

    assert response.status_code == 503 and "index the collection anew" in response.json["detail"]
    assert_documented(response, "/api/v1/search")


def test_an_unexpected_error_is_a_500_without_details(app, monkeypatch):
    def fail(*_):
        raise RuntimeError("secret of the house")

    monkeypatch.setattr("search.retrieval.pipeline.retrieve", fail)
    response = app.test_client().get("/api/v1/search?q=red")

    assert response.status_code == 500
    assert response.json["detail"] == "Something went wrong here: the server's log says what."
    assert "secret" not in response.text and response.mimetype == PROBLEM


def test_an_unknown_address_is_json_too(client):
    assert client.get("/api/v1/nothing").status_code == 404
    assert client.get("/api/v1/nothing").json["type"] == "urn:panoptes:problem:not-found"
    refused = client.put("/api/v1/search")
    assert refused.status_code == 405 and "GET" in refused.headers["Allow"] and refused.mimetype == PROBLEM


def test_the_examples_in_the_documentation_are_real(tmp_path, gallery):
    home = Home(tmp_path / "var")
    recorded = {"format": None, "captions": [], "languages": [], "limit": None, "keep_missing": False}
    home.catalog.finish_run(home.catalog.start_run("default", "/photos", 6, recorded), "done")
    builds = CommandBuilds(home, command=(sys.executable, "-c", "import time; time.sleep(60)"))
    client = create_app(home, FakeEncoder(), editor=HomeEditor(home, builds), captioner=ColourWriter).test_client()

    commands = re.findall(r"^curl .*$", (Path(__file__).parents[3] / "docs" / "api.md").read_text("utf-8"), re.M)
    statuses = {command: run(client, command).status_code for command in commands}
    builds.close()

    assert len(commands) >= 16 and not [command for command in commands if "%" in command]
    other = {command: status for command, status in statuses.items() if status != 200}
    added, written, built, cancelled, bad = sorted(other, key=lambda command: (other[command], command))
    assert ("top=many" in bad, other[bad]) == (True, 400)
    assert ("caption=" in added, other[added]) == (True, 201)
    assert ("captions:generate" in written, other[written]) == (True, 201)
    assert other[built] == other[cancelled] == 202 and "/builds" in built and "/builds/3" in cancelled


def run(client, command: str):
    """The answer of a test client to a curl command; every file is replaced by one photo."""
    data, headers, method, arguments = {}, {}, "GET", iter(shlex.split(command)[1:])
    for argument in arguments:
        if argument == "-F":
            name, _, value = next(arguments).partition("=")
            data.setdefault(name, []).append((io.BytesIO(jpeg((128, 0, 128))), "red.jpg") if value.startswith("@") else value)
            method = "POST"
        elif argument == "-d":
            data, method = next(arguments), "POST"
        elif argument == "-H":
            headers.update([next(arguments).split(": ")])
        elif argument == "-X":
            method = next(arguments)
        else:
            address = argument.removeprefix("http://127.0.0.1:8000")
    return client.open(address, method=method, data=data or None, headers=headers)


def test_the_documentation_names_every_field(client):
    page = (Path(__file__).parents[3] / "docs" / "api.md").read_text("utf-8")
    answer = client.get("/api/v1/search?q=red").json
    caption = client.get("/api/v1/search?q=red&to=captions").json["hits"][0]
    for name in {*answer, *answer["hits"][0], *caption, *answer["took_ms"], *client.get("/api/v1/status").json}:
        assert f"`{name}`" in page or f'"{name}"' in page, name
