from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from storage import Home
from tests.support.fakes import FakeEncoder, jpeg, photo
from tests.support.galleries import Shot, build_gallery, ids_by_name
from web import create_app
from web.image_types import browser_type

SHOTS = [
    Shot("a.jpg", "red"), Shot("b.png", "green"), Shot("c.webp", "blue"), Shot("d.gif", "white"),
    Shot("e.tiff", "yellow"), Shot("f.bmp", "black"), Shot("wrong-name.txt.png", "red"),
]  # fmt: skip


@pytest.fixture
def gallery(tmp_path):
    return build_gallery(tmp_path, SHOTS)


@pytest.fixture
def client(tmp_path, gallery):
    return create_app(Home(tmp_path / "var"), FakeEncoder()).test_client()


def path_of(gallery, name: str) -> Path:
    return Path(gallery.open_snapshot().images([ids_by_name(gallery)[name]])[0].uri)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a", "image/jpeg"), ("b", "image/png"), ("c", "image/webp"), ("d", "image/gif"), ("f", "image/bmp")],
)
def test_the_original_comes_as_it_is(client, gallery, name, kind):
    response = client.get(f"/images/{ids_by_name(gallery)[name]}")

    assert response.status_code == 200 and response.mimetype == kind
    assert response.data == path_of(gallery, name).read_bytes()


def test_a_format_that_browsers_cannot_show_comes_as_its_thumbnail(client, gallery):
    response = client.get(f"/images/{ids_by_name(gallery)['e']}")

    assert response.mimetype == "image/jpeg"
    assert Image.open(io.BytesIO(response.data)).format == "JPEG"


def test_the_type_is_told_by_content_not_by_name(client, gallery):
    path_of(gallery, "a").write_text("<script>alert(1)</script>")

    response = client.get(f"/images/{ids_by_name(gallery)['a']}")

    assert response.mimetype == "image/jpeg" and b"script" not in response.data


def test_thumbnails_are_small_jpegs(client, gallery):
    response = client.get(f"/thumbnails/{ids_by_name(gallery)['b']}")

    assert response.mimetype == "image/jpeg" and response.data == jpeg("green", (96, 64))


@pytest.mark.parametrize("kind", ["images", "thumbnails"])
def test_an_unchanged_photo_is_not_sent_again(client, gallery, kind):
    address = f"/{kind}/{ids_by_name(gallery)['a']}"
    etag = client.get(address).headers["ETag"]

    again = client.get(address, headers={"If-None-Match": etag})

    assert again.status_code == 304 and again.data == b""


@pytest.mark.parametrize("kind", ["images", "thumbnails"])
@pytest.mark.parametrize("wrong", ["4711", "0", "9" * 30, "-1", "..%2f..%2fetc%2fpasswd", "../../etc/passwd", "1.jpg"])
def test_only_ids_of_the_collection_are_served(client, kind, wrong):
    response = client.get(f"/{kind}/{wrong}")

    assert response.status_code == 404 and response.mimetype == "text/html"


def test_a_photo_that_was_moved_away_is_404_with_a_remedy(client, gallery):
    path_of(gallery, "a").unlink()

    response = client.get(f"/images/{ids_by_name(gallery)['a']}")

    assert response.status_code == 404 and "no longer where it was" in response.text
    assert str(path_of(gallery, "a").parent) not in response.text


def test_browser_type_of_nothing():
    assert browser_type(b"") is None
    assert browser_type(b"RIFF\0\0\0\0WAVEfmt ") is None


def test_every_format_that_pillow_writes_is_told_apart():
    for kind in ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF"):
        buffer = io.BytesIO()
        photo("red").save(buffer, kind)
        expected = None if kind == "TIFF" else f"image/{kind.lower()}"
        assert browser_type(buffer.getvalue()[:16]) == expected
