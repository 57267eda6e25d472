"""Captions that a model writes, on the page of a photo and over HTTP."""

from __future__ import annotations

import re

import pytest

from encoder.errors import CannotWrite
from indexer.captioning import Wanted, write_captions
from storage import Home
from storage.verification import verify
from tests.support.captioners import ColourWriter
from tests.support.documented import assert_documented
from tests.support.fakes import FakeConfig, FakeEncoder
from tests.support.galleries import build_gallery, ids_by_name
from web import create_app
from web.build_runner import CommandBuilds
from web.editing import HomeEditor

pytestmark = pytest.mark.usefixtures("one_decoder")
ORIGIN = "generated:feed000000000001"
ENCODER = FakeEncoder(config=FakeConfig(match_calibration=(1.0, 0.0, 2.0)))


@pytest.fixture
def home(tmp_path):
    build_gallery(tmp_path)
    return Home(tmp_path / "var")


@pytest.fixture
def black(home):
    """The id of the photo without captions."""
    return ids_by_name(home.collection("default"))["black"]


def serving(home, writer=None, editing=True):
    editor = HomeEditor(home, CommandBuilds(home)) if editing else None
    captioner = None if writer is False else lambda: writer or ColourWriter()
    return create_app(home, ENCODER, editor=editor, captioner=captioner).test_client()


def generate(client, image_id, **wanted):
    return client.post(f"/api/v1/images/{image_id}/captions:generate", json=wanted)


def captions(home, image_id):
    rows = home.collection("default").open_rows()
    return [(one.text, one.origin) for one in rows.captions_of([image_id])[image_id]]


def text_of(page: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


def test_a_caption_is_written_and_kept_once(home, black):
    client = serving(home)
    first, again = generate(client, black), generate(client, black, language="en", beams=2)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json == {
        "id": 11, "image_id": black, "text": "a wall painted black", "language": "en", "origin": ORIGIN,
        "log_probability": -2.0, "model": "fake", "version": 2,
    }  # fmt: skip
    assert again.json == first.json and captions(home, black) == [("a wall painted black", ORIGIN)]
    for answer in (first, again):
        assert_documented(answer, "/api/v1/images/{image_id}/captions:generate", "post")
    hit = client.get("/api/v1/search?q=painted&mode=lexical").json["hits"][0]
    assert hit["id"] == black and hit["captions"][0]["origin"] == ORIGIN and hit["captions"][0]["log_probability"] == -2.0
    assert client.get("/api/v1/status").json["generated_captions"] == 1
    assert verify(home, "default")["problems"] == []


def test_a_server_that_changes_nothing_writes_and_does_not_keep(home, black):
    client = serving(home, editing=False)
    assert generate(client, black).status_code == 403
    shown = generate(client, black, store=False, language="zh")
    assert (shown.status_code, shown.json["id"], shown.json["text"], shown.json["version"]) == (200, None, "一面黑色的墙", 1)
    assert_documented(shown, "/api/v1/images/{image_id}/captions:generate", "post")
    assert captions(home, black) == []


@pytest.mark.parametrize(("sent", "status", "says"), [
    ({"language": "fr"}, 400, "doesn't write 'fr'"), ({"beams": 0}, 400, "beams"), ({"tongue": "en"}, 400, "tongue"),
    ({"language": 3}, 400, "language"), ([], 400, "Expected"),
])  # fmt: skip
def test_what_can_not_be_meant_is_refused_in_one_line(home, black, sent, status, says):
    answer = serving(home).post(f"/api/v1/images/{black}/captions:generate", json=sent)
    assert answer.status_code == status and says in answer.json["detail"] and "\n" not in answer.json["detail"]
    assert_documented(answer, "/api/v1/images/{image_id}/captions:generate", "post")


def test_an_unknown_photo_and_a_server_without_a_captioner(home, black):
    assert generate(serving(home), 99).status_code == 404
    assert generate(serving(home), 10**30).status_code == 404
    answer = generate(serving(home, False), black)
    assert answer.status_code == 403 and answer.json["type"].endswith("no-captioner")

    def unable():
        raise CannotWrite(home.path)

    client = create_app(home, ENCODER, captioner=unable).test_client()
    assert "can't write captions" in generate(client, black, store=False).json["detail"]
    assert client.get(f"/photo/{black}").status_code == 200


def test_the_photo_file_is_read_where_the_captioner_does_not_read_what_is_stored(home, black):
    client = serving(home, ColourWriter(reads=None))
    assert generate(client, black, store=False).json["text"] == "a wall painted black"
    for photo in home.path.parent.joinpath("photos").iterdir():
        photo.unlink()
    client = serving(home, ColourWriter(reads=None))
    assert [generate(client, black, store=store).status_code for store in (False, True)] == [400, 400]
    assert client.get(f"/photo/{black}").status_code == 200


def test_the_page_of_a_photo_without_captions_shows_what_the_model_writes(home, black):
    client = serving(home)
    page = client.get(f"/photo/{black}").text
    assert "a wall painted black written by fake, shown here only" in text_of(page.split("</h3>")[1])
    assert 'alt="a wall painted black"' in page and "<title>a wall painted black" in page
    fitting = text_of(page[page.index("fit-title") :])
    assert re.search(r"a wall painted black written by fake, match \d+ %", fitting) and "a red wall" in fitting
    chinese = text_of(client.get(f"/photo/{black}?lang=zh").text)
    assert "一面黑色的墙 由 fake 撰写，仅在此显示" in chinese
    assert captions(home, black) == []


def test_a_photo_with_captions_gets_one_written_on_demand(home):
    red = ids_by_name(home.collection("default"))["red"]
    client = serving(home)
    page = client.get(f"/photo/{red}").text
    assert "a wall painted red" not in page and "Have a caption written" in page
    (address,) = re.findall(r'href="([^"]+write=1[^"]*)"', page)
    page = client.get(address).text
    assert "a wall painted red" in page and "Have a caption written" not in page and 'alt="a red wall"' in page


def test_what_was_written_becomes_a_caption_of_ones_own(home, black):
    client = serving(home)
    assert f'action="/photo/{black}"' in client.get(f"/photo/{black}").text
    answer = client.post(f"/photo/{black}?lang=en", data={"caption": " my own black wall "})
    assert answer.status_code == 303
    new = ids_by_name(home.collection("default"))["black"]
    assert answer.headers["Location"] == f"/photo/{new}?lang=en" and captions(home, new) == [("my own black wall", "add")]
    page = client.get(answer.headers["Location"]).text
    assert "my own black wall" in page and "written by" not in page


@pytest.mark.parametrize("caption", ["", "  ", "x" * 3000])
def test_a_caption_without_words_or_without_end_is_refused(home, black, caption):
    assert serving(home).post(f"/photo/{black}", data={"caption": caption}).status_code == 400
    assert captions(home, black) == []


def test_a_read_only_page_shows_and_does_not_save(home, black):
    client = serving(home, editing=False)
    page = client.get(f"/photo/{black}").text
    assert "a wall painted black" in page and "<textarea" not in page
    assert client.post(f"/photo/{black}", data={"caption": "mine"}).status_code == 403


def test_stored_captions_are_marked_wherever_they_are_shown(home, black):
    write_captions(home, "default", ENCODER, ColourWriter(), Wanted(where=f"id = {black}"))
    client, other = serving(home), serving(home, ColourWriter("feed000000000002"))
    assert "a wall painted black written by fake" in text_of(client.get(f"/photo/{black}").text)
    assert "a wall painted black written by a model" in text_of(other.get(f"/photo/{black}").text)
    for address in ("/?q=black", "/?q=black&to=captions"):
        assert "a wall painted black written by fake" in text_of(client.get(address).text)
    assert 'alt="a wall painted black"' in client.get("/?q=black").text
    assert "a red wall written" not in text_of(client.get("/?q=red").text)


def test_a_caption_is_written_once_for_all_who_look(home, black):
    writer = ColourWriter()
    client = serving(home, writer)
    for _ in range(3):
        client.get(f"/photo/{black}")
    assert writer.calls == [("write", 1)]
