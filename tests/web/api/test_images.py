"""Photos over HTTP: added and deleted."""

from __future__ import annotations

import hashlib
import io
import tempfile
import threading
import time

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import indexer.build
import search.retrieval.lexical
from indexer import build_index, open_source
from storage import Home
from storage.errors import CatalogError
from storage.locking import locked
from storage.maintenance import compact, roll_back
from storage.verification import verify
from tests.support.commands import ROOT
from tests.support.documented import assert_documented
from tests.support.fakes import FakeConfig, FakeEncoder, jpeg, photo, save_photo
from tests.support.galleries import build_gallery, ids_by_name
from tests.support.raw_files import dng
from web import create_app
from web.build_runner import CommandBuilds
from web.editing import HomeEditor
from web.error_handlers import PROBLEM

pytestmark = pytest.mark.usefixtures("one_decoder")
PURPLE = (128, 0, 128)
HEIC = (ROOT / "tests" / "data" / "heic" / "plain.heic").read_bytes()
DNG = dng(photo((90, 200, 20), (640, 480)))
JXL = bytes(imagecodecs.jpegxl_encode(np.asarray(photo((10, 120, 130))), lossless=True))


@pytest.fixture
def home(tmp_path):
    build_gallery(tmp_path)
    return Home(tmp_path / "var")


@pytest.fixture
def client(home):
    return serving(home)


def serving(home, encoder=None, **options):
    editor = HomeEditor(home, CommandBuilds(home))
    return create_app(home, encoder or FakeEncoder(), editor=editor, **options).test_client()


def add(client, content=None, **form):
    content = jpeg(PURPLE) if content is None else content
    return client.post("/api/v1/images", data={"image": (io.BytesIO(content), "../../mine.exe"), **form})


def uploads(home, name="default"):
    return sorted(path.name for path in (home.path / "collections" / name).glob("uploads/*"))


def captions_of(home, image_id, name="default"):
    found = home.collection(name).open_snapshot().captions_of([image_id])[image_id]
    return [(caption.language, caption.text) for caption in found]


@pytest.mark.parametrize(
    ("content", "ending"), [(HEIC, ".heic"), (dng(photo((90, 200, 20), (640, 480))), ".dng"), (JXL, ".jxl")]
)
def test_a_photo_that_browsers_cannot_show_is_added_and_shown_as_its_thumbnail(client, home, content, ending):
    added = add(client, content)

    assert added.status_code == 201 and [name[-len(ending) :] for name in uploads(home)] == [ending]
    shown = client.get(added.json["image_url"])
    assert shown.mimetype == "image/jpeg" and shown.data == client.get(added.json["thumbnail_url"]).data
    found = client.post("/api/v1/search", data={"image": (io.BytesIO(content), "x")}).json["hits"][0]
    assert found["id"] == added.json["id"]


def test_a_photo_is_added_and_found(client, home):
    added = add(client, caption=["a purple wall", "紫色的墙", "  "])

    assert added.status_code == 201
    image_id = added.json["id"]
    assert added.json == {"id": image_id, "version": 2, "existed": False, "thumbnail_url": f"/thumbnails/{image_id}",
                          "image_url": f"/images/{image_id}"}  # fmt: skip
    assert added.headers["Location"] == f"/images/{image_id}"
    assert_documented(added, "/api/v1/images", "post")
    assert client.get(f"/images/{image_id}").data == jpeg(PURPLE)
    found = client.get(f"/api/v1/search?q=purple&mode=lexical&where=id={image_id}").json["hits"][0]
    assert (found["id"], [caption["language"] for caption in found["captions"]]) == (image_id, ["en", "zh"])
    assert client.get(f"/api/v1/search?image_id={image_id}").status_code == 200
    assert client.get("/api/v1/status").json["images"] == 7
    assert uploads(home) == [hashlib.sha256(jpeg(PURPLE)).hexdigest() + ".jpg"]
    assert verify(home, "default")["problems"] == []


def test_a_change_is_found_at_once_however_long_the_next_version_takes_to_open(client, monkeypatch):
    assert client.get("/api/v1/search?q=purple&mode=lexical").json["total"] == 0
    monkeypatch.setattr("storage.snapshot_cache.PATIENCE_S", 0.0)
    made = search.retrieval.lexical.CaptionWords
    monkeypatch.setattr(search.retrieval.lexical, "CaptionWords", lambda snapshot: (time.sleep(0.5), made(snapshot))[1])

    image_id = add(client, caption="a purple wall").json["id"]

    assert client.get("/api/v1/search?q=purple&mode=lexical").json["hits"][0]["id"] == image_id
    assert client.delete(f"/api/v1/images/{image_id}").status_code == 200
    assert client.get("/api/v1/search?q=purple&mode=lexical").json["total"] == 0


@pytest.mark.parametrize(
    ("kind", "ending"), [("PNG", ".png"), ("WEBP", ".webp"), ("TIFF", ".tif"), ("GIF", ".gif"), ("BMP", ".bmp")]
)
def test_the_ending_of_a_file_is_that_of_its_content(client, home, kind, ending):
    buffer = io.BytesIO()
    photo(PURPLE).save(buffer, kind)
    assert add(client, buffer.getvalue()).status_code == 201
    assert [name[64:] for name in uploads(home)] == [ending]


def test_one_photo_costs_a_batch_of_one(home):
    encoder = FakeEncoder()
    assert add(serving(home, encoder), caption="a purple wall").status_code == 201
    assert encoder.calls == [("encode_images", 1), ("encode_texts", 1)]


def test_the_first_photo_makes_the_collection(tmp_path):
    client = serving(Home(tmp_path), collection="holiday")
    assert add(client).json["version"] == 1
    assert client.get("/api/v1/search?q=purple").json["total"] == 1


def test_the_language_may_be_named(client, home):
    added = add(client, caption="ein lila Haus", lang="de")
    assert captions_of(home, added.json["id"]) == [("de", "ein lila Haus")]


def test_a_photo_that_is_there_already_is_not_added_again(client, home):
    first = add(client, caption="a purple wall")
    again = add(client, caption="a purple wall")
    assert (again.status_code, again.json) == (200, first.json | {"existed": True})
    assert_documented(again, "/api/v1/images", "post")

    more = add(client, caption="all of it is purple")
    assert (more.status_code, more.json["existed"], more.json["version"]) == (200, True, 3)
    assert {text for _, text in captions_of(home, more.json["id"])} == {"a purple wall", "all of it is purple"}
    assert client.get("/api/v1/status").json["images"] == 7 and len(uploads(home)) == 1


def test_a_photo_that_a_source_has_is_not_stored_again(client, home, tmp_path):
    collection = home.collection("default")
    red, content = ids_by_name(collection)["red"], (tmp_path / "photos" / "red.jpg").read_bytes()
    assert add(client, content).json == {"id": red, "version": 1, "existed": True, "thumbnail_url": f"/thumbnails/{red}",
                                         "image_url": f"/images/{red}"}  # fmt: skip
    described = add(client, content, caption="rot").json
    assert ("en", "rot") in captions_of(home, described["id"]) and ("en", "a red wall") in captions_of(home, described["id"])
    assert uploads(home) == [] and client.get("/api/v1/status").json["images"] == 6


@pytest.mark.parametrize("change", ["gone", "other"])
def test_a_photo_whose_file_is_gone_or_changed_is_stored_with_its_captions(client, home, tmp_path, change):
    file = tmp_path / "photos" / "red.jpg"
    content = file.read_bytes()
    file.unlink()
    if change == "other":
        save_photo(file, "blue")

    added = add(client, content, caption="rot")
    assert added.status_code == 200 and client.get(added.json["image_url"]).data == content
    texts = {text for _, text in captions_of(home, added.json["id"])}
    assert texts == {"a red wall", "all of it is red", "红色的墙", "rot"}
    assert client.get("/api/v1/status").json["images"] == (6 if change == "gone" else 7)


@pytest.mark.parametrize("content", [b"not a photo", b"<svg xmlns='http://www.w3.org/2000/svg'/>", jpeg("red")[:200]])
def test_a_file_that_is_no_photo_is_not_added(client, home, content):
    refused = add(client, content)
    assert refused.status_code == 400 and refused.mimetype == PROBLEM and "the uploaded photo" in refused.json["detail"]
    assert uploads(home) == [] and home.catalog.failures("default") == [] and home.collection("default").manifest.version == 1


def test_a_photo_beyond_the_limit_is_413(client, home, monkeypatch):
    monkeypatch.setattr("web.uploads.LARGEST_UPLOAD", 2**20)
    assert add(client, jpeg("red").ljust(2**20 + 1, b"\0")).status_code == 413
    assert uploads(home) == []


@pytest.mark.parametrize(
    ("form", "says"),
    [({"lang": "english, please"}, "lang is 'english, please': it must be a code such as en."),
     ({"caption": "a" * 2001}, "A caption is 2001 characters long: 2000 is the most."),
     ({"caption": ["a"] * 101}, "caption is there 101 times: 100 is the most.")],
)  # fmt: skip
def test_a_wrong_caption_is_400(client, home, form, says):
    refused = add(client, **form)
    assert refused.status_code == 400 and refused.json["detail"].startswith(says)
    assert_documented(refused, "/api/v1/images", "post")
    assert home.collection("default").manifest.version == 1


def test_no_photo_is_400(client):
    refused = client.post("/api/v1/images", data={"caption": "a"})
    assert refused.status_code == 400 and refused.json["detail"].startswith("No photo was sent")


def failing(*_, **__):
    raise CatalogError("here", "the disk is full")


def test_a_photo_that_could_not_be_indexed_leaves_nothing(client, home, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("storage.catalog.catalog.Catalog.start_run", failing)
        assert add(client).status_code == 500
    assert uploads(home) == [] and home.collection("default").manifest.version == 1
    assert add(client).status_code == 201


def test_a_photo_that_was_published_stays_whatever_happens_then(client, home, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("storage.catalog.catalog.Catalog.finish_run", failing)
        assert add(client).status_code == 500
    again = add(client)
    assert (again.status_code, again.json["existed"]) == (200, True)
    assert client.get(again.json["image_url"]).data == jpeg(PURPLE)


def test_a_photo_that_the_indexer_cannot_read_is_400_and_no_failure_of_the_collection(client, home, monkeypatch):
    def unreadable(job):
        return indexer.build.Failure(job.uri, "damaged", f"{job.uri} is damaged.")

    monkeypatch.setattr("indexer.photo_pool.load_photo", unreadable)
    refused = add(client)
    assert refused.status_code == 400 and refused.json["detail"] == "The photo can't be added (damaged): try another file."
    assert uploads(home) == [] and home.catalog.failures("default") == []


def test_while_another_writes_a_change_is_409(client, home):
    with locked(home.collection("default").folder):
        for refused in (add(client), client.delete("/api/v1/images/1")):
            assert refused.status_code == 409 and refused.json["type"] == "urn:panoptes:problem:collection-busy"
            assert_documented(
                refused,
                "/api/v1/images" if refused.request.method == "POST" else "/api/v1/images/{image_id}",
                refused.request.method.lower(),
            )
            assert refused.headers["Retry-After"] == "5" and "is being written by another command" in refused.json["detail"]
    assert uploads(home) == []


def test_other_weights_are_503(home):
    refused = add(serving(home, FakeEncoder("fake000000000002")))
    assert refused.status_code == 503 and "index the collection anew" in refused.json["detail"] and uploads(home) == []


def test_a_model_that_is_not_loaded_yet_is_503(home):
    client = create_app(home, threading.Event().wait, editor=HomeEditor(home, CommandBuilds(home))).test_client()
    assert add(client).status_code == 503


def test_a_model_that_reads_regions_takes_no_photo(home):
    class Regions(FakeConfig):
        @property
        def inputs(self):
            from encoder.inputs.image_inputs import RegionInput

            return RegionInput(4, 8)

    refused = add(serving(home, FakeEncoder(config=Regions())))
    assert refused.status_code == 400 and "a detector's features" in refused.json["detail"]


def test_a_deleted_photo_is_not_found_any_more(client, home, tmp_path):
    red = ids_by_name(home.collection("default"))["red"]

    done = client.delete(f"/api/v1/images/{red}")

    assert (done.status_code, done.json) == (200, {"id": red, "version": 2, "images": 5, "captions": 7})
    assert_documented(done, "/api/v1/images/{image_id}", "delete")
    assert red not in [hit["id"] for hit in client.get("/api/v1/search?q=red").json["hits"]]
    assert client.get(f"/images/{red}").status_code == 404
    assert (tmp_path / "photos" / "red.jpg").exists()


def test_a_deleted_upload_comes_back_by_rollback_until_it_is_compacted(client, home):
    image_id = add(client).json["id"]
    client.delete(f"/api/v1/images/{image_id}")
    assert len(uploads(home)) == 1
    roll_back(home, "default", 2)
    assert client.get(f"/images/{image_id}").data == jpeg(PURPLE)

    client.delete(f"/api/v1/images/{image_id}")
    again = add(client)
    assert (again.status_code, again.json["existed"]) == (201, False) and again.json["id"] != image_id
    compact(home, "default", keep=0)
    assert client.get(again.json["image_url"]).data == jpeg(PURPLE)


@pytest.mark.parametrize("image_id", ["4711", "9223372036854775808", "0"])
def test_an_unknown_photo_is_404(client, home, image_id):
    refused = client.delete(f"/api/v1/images/{image_id}")
    assert refused.status_code == 404 and image_id in refused.json["detail"] and refused.mimetype == PROBLEM
    assert home.collection("default").manifest.version == 1


def test_deleting_keeps_what_an_interrupted_run_encoded(client, home, tmp_path):
    save_photo(tmp_path / "more" / "purple.png", PURPLE)

    class Interrupted(FakeEncoder):
        def encode_texts(self, texts):
            raise KeyboardInterrupt

    (tmp_path / "more" / "purple.txt").write_text("a purple wall")
    with pytest.raises(KeyboardInterrupt):
        build_index(home, "default", open_source(tmp_path / "more"), Interrupted(), workers=0)
    refused = client.delete("/api/v1/images/1")
    assert refused.status_code == 409 and "was interrupted with 1 photos" in refused.json["detail"]
    assert "Retry-After" not in refused.headers


def test_a_server_that_was_given_no_editor_changes_nothing(home):
    client = create_app(home, FakeEncoder()).test_client()
    for refused in (add(client), client.delete("/api/v1/images/1")):
        assert refused.status_code == 403 and refused.json["type"] == "urn:panoptes:problem:read-only"
        assert "--read-only" in refused.json["detail"]


COLOURS = st.sampled_from(["red", "green", "blue"])
STEPS = st.lists(st.one_of(st.tuples(COLOURS, st.sets(st.sampled_from("abc"))), st.tuples(COLOURS, st.none())), max_size=8)


@given(STEPS)
@settings(max_examples=15)
def test_the_collection_is_what_was_added_and_not_deleted(steps):
    """In any order of steps, a photo is there once, with all captions since it was added."""
    with tempfile.TemporaryDirectory() as folder:
        home = Home(folder)
        client, there, ids = serving(home), {}, {}
        for colour, captions in steps:
            if captions is not None:
                added = add(client, jpeg(colour), caption=sorted(captions))
                assert added.status_code == (200 if colour in there else 201)
                there.setdefault(colour, set()).update(captions)
                ids[colour] = added.json["id"]
            elif colour in there:
                assert client.delete(f"/api/v1/images/{ids[colour]}").status_code == 200
                del there[colour]
        if not ids:
            return
        assert client.get("/api/v1/status").json["images"] == len(there)
        for colour, captions in there.items():
            assert client.get(f"/images/{ids[colour]}").data == jpeg(colour)
            assert {text for _, text in captions_of(home, ids[colour])} == captions
        assert verify(home, "default")["problems"] == []
