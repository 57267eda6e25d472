"""`read-text` reads signs in photos; search finds their words."""

from __future__ import annotations

from PIL import Image, ImageDraw, ImageFont

from tests.support.commands import answer, manage
from tests.support.fakes import save_photo
from tests.support.small_models import write_small_model


def sign(path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    photo = Image.new("RGB", (640, 320), "white")
    ImageDraw.Draw(photo).text((60, 120), text, "black", ImageFont.load_default(64))
    photo.save(path)


def test_signs_are_read_once_and_found(tmp_path):
    own = {"PANOPTES_HOME": str(tmp_path / "home"), "PANOPTES_MODEL": str(write_small_model(tmp_path / "model"))}
    sign(tmp_path / "photos" / "station.png", "PLATFORM")
    save_photo(tmp_path / "photos" / "red.png", "red")

    built = answer("build-index", tmp_path / "photos", "--read-text", **own)
    assert (built["images"], built["text"]["read"], built["text"]["with_text"], built["text"]["lines"]) == (2, 2, 1, 1)
    assert answer("status", **own)["texts_read"] == 2

    (hit,) = answer("search", "platform", "--mode", "lexical", **own)["hits"]
    assert hit["uri"].endswith("station.png") and hit["captions"] == []
    assert hit["texts"][0]["text"] == "PLATFORM" and len(hit["texts"][0]["box"]) == 8

    for where in ("origin = 'ocr'", "ocr contains 'platform'"):
        assert [one["uri"] for one in answer("search", "a photo", "--where", where, **own)["hits"]] == [hit["uri"]]
    assert answer("search", "a photo", "--where", "caption contains 'platform'", **own)["hits"] == []

    sign(tmp_path / "photos" / "library.png", "LIBRARY")
    assert answer("build-index", tmp_path / "photos", **own)["added"] == 1
    done = manage("read-text", **own)
    assert done.returncode == 0 and "1 photos read, 1 of them with text (1 lines); 2 were read before" in done.stdout

    (tmp_path / "photos" / "library.png").unlink()
    assert answer("read-text", **own)["read"] == 0
