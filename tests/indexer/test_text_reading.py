"""Reading the text in a collection's photos: once for each content, durable batch by batch, published as a version."""

from __future__ import annotations

import pytest
from PIL import Image, ImageDraw, ImageFont

import indexer.text_reading
from indexer import build_index, open_source
from indexer.text_reader import TextReader, widened
from indexer.text_reading import read_texts, text_lines
from search import Engine, Query
from storage import Home
from storage.photo_texts import pending_files
from tests.support.fakes import COLOURS, FakeEncoder, save_photo
from tests.support.region_fakes import FakeRegionEncoder, save_features
from tests.support.signs import SIGNS, SignReader


@pytest.fixture
def folder(tmp_path):
    for colour in ("red", "green", "blue"):
        save_photo(tmp_path / "photos" / f"{colour}.png", colour)
    (tmp_path / "photos" / "blue.txt").write_text("no stop at all")
    return tmp_path / "photos"


@pytest.fixture
def home(tmp_path, folder):
    home = Home(tmp_path / "home")
    build_index(home, "default", open_source(folder), FakeEncoder())
    return home


def engine(home):
    return Engine(home.collection("default"), FakeEncoder())


def names(home, text, **options):
    return [hit.uri.rsplit("/", 1)[-1] for hit in engine(home).search(Query(text, rerank=0, **options)).hits]


def test_each_content_is_read_once_and_found_by_its_words(home, folder):
    save_photo(folder / "red again.png", "red")
    build_index(home, "default", open_source(folder), FakeEncoder())
    reader = SignReader()

    report = read_texts(home, "default", lambda: reader)

    assert reader.read_photos == 3
    assert {name: report[name] for name in ("read", "with_text", "lines", "known", "left", "failures", "version")} == {
        "read": 3, "with_text": 2, "lines": 2, "known": 0, "left": 0, "failures": [], "version": 3,
    }  # fmt: skip
    assert sorted(names(home, "exit", mode="lexical")) == ["green.png"]
    assert sorted(names(home, "stop", mode="lexical")) == ["blue.png", "red again.png", "red.png"]
    assert list(text_lines(report))[0].startswith("3 photos read, 2 of them with text (2 lines); 0 were read before")

    again = read_texts(home, "default", lambda: pytest.fail("nothing is left to read"))
    assert (again["read"], again["known"], again["changed"]) == (0, 3, False)


def test_a_hit_has_the_lines_that_share_a_word_with_the_query(home):
    read_texts(home, "default", SignReader)
    hits = {h.uri.rsplit("/", 1)[-1]: h for h in engine(home).search(Query("出口", mode="hybrid", rerank=0)).hits}
    assert hits["green.png"].texts == [SIGNS[COLOURS["green"]]]
    assert hits["green.png"].lexical_rank == 1 and hits["red.png"].texts == []


def test_read_text_is_no_caption(home):
    read_texts(home, "default", SignReader)
    snapshot = home.collection("default").open_snapshot()
    assert snapshot.caption_count == 1
    captions = engine(home).search(Query("exit", to="captions", mode="lexical"))
    assert captions.hits == []


def test_a_sign_that_says_something_else_does_not_speak_against_a_photo(home):
    """In hybrid mode a caption without the query's words does; a photo with a sign only ranks as one without any text."""
    plain = names(home, "red wall", mode="hybrid")
    read_texts(home, "default", SignReader)
    assert names(home, "red wall", mode="hybrid") == plain


def test_an_interrupted_reading_goes_on(home, monkeypatch):
    monkeypatch.setattr(indexer.text_reading, "PHOTOS_AT_ONCE", 1)

    class Interrupted(SignReader):
        def read(self, photo):
            if self.read_photos == 2:
                raise KeyboardInterrupt
            return super().read(photo)

    with pytest.raises(KeyboardInterrupt):
        read_texts(home, "default", Interrupted)
    assert len(pending_files(home.collection("default").folder)) == 2
    assert names(home, "stop", mode="lexical") == ["blue.png"]

    reader = SignReader()
    report = read_texts(home, "default", lambda: reader)
    assert reader.read_photos == 1 and report["known"] == 2
    assert sorted(names(home, "stop", mode="lexical")) == ["blue.png", "red.png"]
    assert pending_files(home.collection("default").folder) == []


def test_a_limit_leaves_the_others_for_later(home):
    assert read_texts(home, "default", SignReader, limit=2)["left"] == 1
    assert read_texts(home, "default", SignReader)["read"] == 1


def test_photos_that_are_gone_or_changed_are_told_and_not_counted_as_read(home, folder):
    (folder / "red.png").unlink()
    save_photo(folder / "green.png", "white")

    report = read_texts(home, "default", SignReader)

    assert [(one["reason"], one["uri"].rsplit("/", 1)[-1]) for one in report["failures"]] == [
        ("changed", "green.png"), ("missing", "red.png"),
    ]  # fmt: skip
    assert report["read"] == 1


def test_photos_that_were_moved_keep_their_text(home, folder):
    read_texts(home, "default", SignReader)
    (folder / "red.png").rename(folder / "moved.png")
    build_index(home, "default", open_source(folder), FakeEncoder())
    assert sorted(names(home, "stop", mode="lexical")) == ["blue.png", "moved.png"]


def test_the_real_reader_reads_a_drawn_sign_at_its_place():
    photo = Image.new("RGB", (800, 400), "white")
    ImageDraw.Draw(photo).text((420, 240), "PLATFORM 12", "black", ImageFont.load_default(48))
    (line,) = TextReader().read(photo)
    assert line.text.replace(" ", "") == "PLATFORM12" and line.confidence > 0.9 and line.language == "en"
    left, top, right, bottom = line.box[0], line.box[1], line.box[4], line.box[5]
    assert 0.5 < left < 0.54 and 0.75 < right < 1 and 0.58 < top < 0.66 and 0.7 < bottom < 0.8
    assert TextReader().read(Image.new("RGB", (64, 64), "white")) == []


@pytest.mark.parametrize(("size", "given"), [
    ((30, 1500), (187, 1500)), ((1500, 30), (1500, 187)), ((800, 600), (800, 600)), ((100, 800), (100, 800)),
])  # fmt: skip
def test_a_stripe_is_widened_for_recognition_and_stays_where_it_is(size, given):
    """Recognition enlarges the shorter side: a stripe would take all memory."""
    photo = widened(Image.new("RGB", size, "red"))
    assert photo.size == given and photo.getpixel((0, 0)) == photo.getpixel((size[0] - 1, size[1] - 1)) == (255, 0, 0)


def test_a_photo_on_which_the_reader_fails_does_not_end_the_run(home):
    class Failing(SignReader):
        def read(self, photo):
            if self.read_photos == 0:
                self.read_photos += 1
                raise ValueError("cannot reshape")
            return super().read(photo)

    report = read_texts(home, "default", Failing)
    assert report["read"] == 2 and [one["reason"] for one in report["failures"]] == ["undecodable"]


def test_a_photo_with_features_is_read(tmp_path):
    home, folder = Home(tmp_path / "home"), tmp_path / "features"
    save_features(folder / "0.npz", "red")
    save_photo(folder / "0.png", "red")
    build_index(home, "default", open_source(folder, "regions"), FakeRegionEncoder(), workers=0)
    assert read_texts(home, "default", SignReader)["with_text"] == 1
    save_features(folder / "0.npz", "blue")
    assert read_texts(home, "default", SignReader)["known"] == 1
