"""Captions that a model writes: of each content once, kept batch by batch, published as a version, apart from people's."""

from __future__ import annotations

import numpy as np
import pytest

import indexer.captioning
from encoder.errors import UnwrittenLanguage
from indexer import build_index, open_source
from indexer.captioning import Wanted, caption_lines, captions_of_files, write_captions
from indexer.errors import PhotosGone
from indexer.items import Failure
from indexer.upkeep import encode_again
from storage import Home
from storage.caption_deletion import delete_captions
from storage.errors import OtherWeights
from storage.maintenance import compact, delete_images, roll_back
from storage.repair import repair
from storage.verification import verify
from storage.written_captions import written_files
from tests.support.captioners import ColourWriter
from tests.support.fakes import FakeEncoder, save_photo

ORIGIN = "generated:feed000000000001"


@pytest.fixture
def folder(tmp_path):
    for colour in ("red", "green", "blue"):
        save_photo(tmp_path / "photos" / f"{colour}.png", colour)
    (tmp_path / "photos" / "blue.txt").write_text("the sea")
    return tmp_path / "photos"


@pytest.fixture
def home(tmp_path, folder):
    home = Home(tmp_path / "home")
    build(home, folder)
    return home


def build(home, folder, **options):
    return build_index(home, "default", open_source(folder), FakeEncoder(), workers=0, **options)


def write(home, writer=None, **wanted):
    return write_captions(home, "default", FakeEncoder(), writer or ColourWriter(), Wanted(**wanted))


def told(home):
    """All captions as (photo's name, text), those that a model wrote in brackets, with nothing wrong in the collection."""
    assert verify(home, "default")["problems"] == []
    rows = home.collection("default").open_snapshot()
    assert rows.caption_index.count == rows.caption_count == home.collection("default").manifest.captions
    captions = rows.captions(rows.caption_ids())
    names = {image.image_id: image.uri.rsplit("/", 1)[-1] for image in rows.images(rows.image_ids())}
    return sorted((names[one.image_id], f"[{one.text}]" if one.generated else one.text) for one in captions)


RED, GREEN, BLUE = ((f"{colour}.png", f"[a wall painted {colour}]") for colour in ("red", "green", "blue"))
SEA = ("blue.png", "the sea")


def test_captions_are_written_from_what_is_stored_and_no_photo_is_opened(home, folder):
    for photo in folder.glob("*.png"):
        photo.unlink()
    writer = ColourWriter()
    report = write(home, writer)
    assert writer.calls == [("write", 3)]
    assert (report["written"], report["added"], report["known"], report["left"], report["version"]) == (3, 3, 0, 0, 2)
    assert told(home) == sorted([RED, GREEN, BLUE, SEA])
    rows = home.collection("default").open_rows()
    caption = next(one for one in rows.captions(rows.caption_ids()) if one.generated)
    assert (caption.origin, caption.language, caption.log_probability) == (ORIGIN, "en", -2.0)
    expected = FakeEncoder().encode_texts([caption.text]).vectors
    assert np.allclose(rows.caption_vectors([caption.caption_id]), expected, atol=1e-3)


def test_a_second_run_writes_nothing_and_another_language_or_captioner_does(home):
    write(home)
    again = write(home)
    assert (again["written"], again["known"], again["changed"], again["version"]) == (0, 3, False, 2)
    assert "nothing to write" in list(caption_lines(again))[0]
    assert write(home, language="zh")["written"] == 3
    assert write(home, ColourWriter("feed000000000002"))["written"] == 3
    assert home.collection("default").open_rows().generated_count == 9


def test_missing_filter_and_limit_choose_the_photos(home):
    assert write(home, missing=True, limit=1) | {"failures": 0} == {
        "collection": "default", "version": 2, "changed": True, "added": 1, "language": "en", "written": 1, "known": 1,
        "left": 1, "failures": 0,
    }  # fmt: skip
    assert write(home, where="name = 'blue.png'")["written"] == 1
    assert write(home, missing=True)["written"] == 1
    assert told(home) == sorted([RED, GREEN, BLUE, SEA])


def test_each_content_is_written_of_once(home, folder):
    save_photo(folder / "red again.png", "red")
    build(home, folder)
    writer = ColourWriter()
    assert write(home, writer)["added"] == 4
    assert writer.calls == [("write", 3)]
    assert ("red again.png", "[a wall painted red]") in told(home)


def test_an_interrupted_run_goes_on_where_it_was(home, monkeypatch):
    monkeypatch.setattr(indexer.captioning, "PHOTOS_AT_ONCE", 1)

    class Stopped(ColourWriter):
        def write(self, tokens, language, beams=4):
            if self.calls:
                raise KeyboardInterrupt
            return super().write(tokens, language, beams)

    with pytest.raises(KeyboardInterrupt):
        write(home, Stopped())
    assert told(home) == [SEA] and len(written_files(home.collection("default").folder)) == 1
    writer = ColourWriter()
    report = write(home, writer)
    assert len(writer.calls) == 2 and (report["written"], report["known"], report["added"]) == (2, 1, 3)
    assert told(home) == sorted([RED, GREEN, BLUE, SEA])


def test_a_batch_that_is_damaged_is_written_again(home, monkeypatch):
    monkeypatch.setattr(indexer.captioning, "publish_captions", lambda *_: {"added": 0})
    write(home)
    monkeypatch.undo()
    (file,) = written_files(home.collection("default").folder)
    file.write_bytes(file.read_bytes()[:40])
    assert write(home)["added"] == 3


def test_what_waits_is_published_for_the_photos_that_are_there_then(home, folder, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(indexer.captioning, "publish_captions", lambda *_: {"added": 0})
        write(home)
    (folder / "red.png").rename(folder / "moved.png")
    (folder / "green.png").unlink()
    build(home, folder)
    assert write(home)["added"] == 2
    assert told(home) == sorted([("moved.png", RED[1]), BLUE, SEA])


def test_what_waits_is_encoded_anew_when_the_collection_was_rebuilt_with_other_weights(home, folder, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(indexer.captioning, "publish_captions", lambda *_: {"added": 0})
        write(home)
    other = FakeEncoder("fake000000000002")
    build_index(home, "default", open_source(folder), other, workers=0, rebuild=True)
    assert write_captions(home, "default", other, ColourWriter(), Wanted())["added"] == 3
    assert other.calls[-1] == ("encode_texts", 3)


def test_photos_are_opened_where_the_captioner_reads_tokens_of_its_own(home, folder):
    (folder / "red.png").unlink()
    save_photo(folder / "green.png", "white")
    writer = ColourWriter(reads=None)
    report = write(home, writer)
    assert sorted(one["reason"] for one in report["failures"]) == ["changed", "missing"]
    assert report["written"] == 1 and told(home) == sorted([BLUE, SEA])


def test_photos_that_are_all_gone_are_one_error(home, folder):
    for photo in folder.glob("*.png"):
        photo.unlink()
    with pytest.raises(PhotosGone, match="None of 3 photos of collection 'default' can be read"):
        write(home, ColourWriter(reads="fake000000000009"))


def test_a_language_that_is_not_written_and_another_encoder_are_refused(home):
    with pytest.raises(UnwrittenLanguage, match="'fr'"):
        write(home, language="fr")
    with pytest.raises(OtherWeights):
        write_captions(home, "default", FakeEncoder("fake000000000002"), ColourWriter(), Wanted())


def test_files_are_written_of_in_their_order(folder):
    answers = list(captions_of_files(ColourWriter(), [folder / name for name in ("red.png", "no.png", "blue.png")], "zh"))
    assert isinstance(answers[1].caption, Failure) and answers[1].caption.reason == "missing"
    assert [getattr(answers[i].caption, "text", None) for i in (0, 2)] == ["一面红色的墙", "一面蓝色的墙"]


def test_photos_with_written_captions_stay_as_they_are(home, folder):
    write(home)
    summary = build(home, folder)
    assert (summary.added, summary.unchanged, summary.version) == (0, 3, 2)


def test_a_photo_that_gets_a_new_id_without_new_pixels_keeps_its_written_caption(home, folder):
    write(home)
    (folder / "red.txt").write_text("another wall")
    (folder / "green.png").rename(folder / "moved.png")
    build(home, folder)
    assert told(home) == sorted([RED, ("red.png", "another wall"), ("moved.png", GREEN[1]), BLUE, SEA])
    rows = home.collection("default").open_rows()
    assert {one.log_probability for one in rows.captions(rows.caption_ids(generated=True))} == {-2.0}


def test_a_photo_with_new_pixels_loses_its_written_caption(home, folder):
    write(home)
    save_photo(folder / "red.png", "white")
    build(home, folder)
    assert told(home) == sorted([GREEN, BLUE, SEA])
    assert write(home)["written"] == 1


def test_a_rebuild_keeps_written_captions_of_photos_that_are_the_same(home, folder):
    write(home)
    before = home.collection("default").open_rows().caption_ids().tolist()
    save_photo(folder / "red.png", "white")
    build(home, folder, rebuild=True)
    assert told(home) == sorted([GREEN, BLUE, SEA])
    assert set(home.collection("default").open_rows().caption_ids().tolist()) < set(before)


def test_deleting_captions_leaves_the_photos_and_rollback_brings_them_back(home):
    write(home)
    report = delete_captions(home, "default", "origin like 'generated%'")
    assert (report["deleted_captions"], report["images"], report["captions"]) == (3, 3, 1)
    assert told(home) == [SEA]
    roll_back(home, "default", 2)
    assert told(home) == sorted([RED, GREEN, BLUE, SEA])
    roll_back(home, "default", 1)
    assert told(home) == [SEA]
    assert write(home)["written"] == 3
    assert delete_captions(home, "default", "log_probability < -9")["changed"] is False


def test_captions_of_a_deleted_photo_never_come_back(home):
    write(home)
    red = (
        home.collection("default")
        .open_rows()
        .with_content(
            next(i.sha256 for i in home.collection("default").open_rows().images([1, 2, 3]) if i.uri.endswith("red.png"))
        )
    )
    delete_images(home, "default", red)
    assert told(home) == sorted([GREEN, BLUE, SEA])
    compact(home, "default")
    assert told(home) == sorted([GREEN, BLUE, SEA])
    assert home.collection("default").manifest.tombstones == ()
    assert compact(home, "default")["changed"] is False


def test_a_damaged_segment_is_repaired_with_its_written_captions(home):
    write(home)
    (
        home.collection("default").folder / "segments" / home.collection("default").manifest.segments[0] / "image_tokens.npy"
    ).write_bytes(b"no")
    answer, lost = repair(home, "default")
    assert (answer["images"], answer["captions"]) == (0, 0)
    assert encode_again(home, "default", FakeEncoder(), lost) == 3
    assert told(home) == sorted([RED, GREEN, BLUE, SEA])
