"""What came from which source, and forgetting one: by Python, by the command, and on the page."""

from __future__ import annotations

from dataclasses import replace

import pytest

from storage import CaptionRecord, FileRecord, Home
from storage.errors import NoSuchSource, UnknownCollection
from storage.maintenance import delete_images, roll_back, versions
from storage.sources import counts_by_source, forget_source, forgotten_lines, sources, sources_lines
from tests.support.commands import answer, manage
from tests.support.fakes import FakeEncoder
from tests.support.storage_examples import ENCODER, segment_data
from web import create_app


@pytest.fixture
def home(tmp_path):
    """Red and green came from /a, blue from /b, white was added by itself; a file of /b and one of /gone could not be read."""
    home = Home(tmp_path / "home")
    with home.create_collection("default").writer(ENCODER.fingerprint) as writer:
        origins = {"red": "/a", "green": "/a", "blue": "/b", "white": "added"}
        ids = {writer.new_image_id(): colour for colour in origins}
        captions = [
            CaptionRecord(writer.new_caption_id(), image_id, "en", f"{colour} {number}", "test")
            for image_id, colour in ids.items()
            for number in range(2 if colour == "red" else colour == "blue")
        ]
        data = segment_data(ids, captions)
        data.images[:] = [replace(image, source=origins[ids[image.image_id]]) for image in data.images]
        writer.add_segment(data)
        writer.publish()
    for source in ("/a", "/b"):
        home.catalog.start_run("default", source, 2, {"limit": None})
    failed = [FileRecord(f"{source}/x", source, "failed", reason="damaged", sentence="No.") for source in ("/b", "/gone")]
    home.catalog.record_files("default", [*failed, FileRecord("/photos/3.jpg", "/b", "indexed", image_id=3)])
    return home


def living(home) -> list[int]:
    return home.collection("default").open_snapshot().image_ids().tolist()


def names(home) -> list[str]:
    return [one["source"] for one in sources(home, "default")["sources"]]


def test_every_source_is_listed_with_its_counts(home):
    report = sources(home, "default")
    assert [tuple(one.values()) for one in report["sources"]] == [
        ("/a", 2, 2, 0, {"limit": None}),
        ("/b", 1, 1, 1, {"limit": None}),
        ("/gone", 0, 0, 1, None),
        ("added", 1, 0, 0, None),
    ]
    assert list(sources_lines(report))[1] == "/b: 1 images, 1 captions, 1 files that could not be read"
    assert counts_by_source(home.collection("default").open_rows()) == {"/a": (2, 2), "/b": (1, 1), "added": (1, 0)}


def test_a_deleted_image_does_not_count(home):
    delete_images(home, "default", [1])
    assert sources(home, "default")["sources"][0]["images"] == 1


def test_a_forgotten_source_is_gone_in_one_version_and_comes_back_with_a_rollback(home):
    before = [home.collection("default").open_snapshot().images([number]) for number in living(home)]
    report = forget_source(home, "default", "/b")
    assert (report["source"], report["removed"], report["version"], report["images"]) == ("/b", 1, 2, 3)
    assert living(home) == [1, 2, 4] and names(home) == ["/a", "/gone", "added"]
    assert list(home.catalog.sources("default")) == ["/a"] and home.catalog.files_of("default", ["/photos/3.jpg"]) == {}
    assert "rollback 1` brings them back" in next(forgotten_lines(report))
    assert versions(home, "default")["versions"][0]["change"] == "/b forgotten: 1 removed"

    roll_back(home, "default", 1)
    assert [home.collection("default").open_snapshot().images([number]) for number in living(home)] == before


def test_a_source_of_which_nothing_is_left_is_forgotten_too(home):
    report = forget_source(home, "default", "/gone")
    assert (report["removed"], report["changed"]) == (0, False) and "/gone" not in names(home)
    assert "rollback" not in " ".join(forgotten_lines(report))


def test_all_sources_may_be_forgotten(home):
    for source in ("/a", "/b", "added", "/gone"):
        forget_source(home, "default", source)
    assert living(home) == [] and sources(home, "default")["sources"] == []
    assert list(sources_lines(sources(home, "default"))) == ["Nothing in default came from a source."]


def test_a_source_is_named_by_its_path_however_it_is_written(home, monkeypatch):
    monkeypatch.chdir("/")
    assert forget_source(home, "default", "a")["source"] == "/a"


def test_an_unknown_source_changes_nothing(home):
    with pytest.raises(NoSuchSource, match=r"no source /c \(there are /a, /b, /gone, added\)"):
        forget_source(home, "default", "/c")
    assert living(home) == [1, 2, 3, 4]
    with pytest.raises(UnknownCollection):
        forget_source(home, "other", "/a")


def test_the_command_lists_and_forgets(home):
    where = ["--home", home.path]
    assert [one["images"] for one in answer("sources", *where)["sources"]] == [2, 1, 0, 1]
    assert "/a: 2 images, 2 captions" in manage("sources", *where).stdout
    assert answer("sources", "forget", "/a", *where)["removed"] == 2
    assert "/b is forgotten: 1 image removed." in manage("sources", *where, "forget", "/b").stdout
    unknown = manage("sources", "forget", "/a", *where)
    assert unknown.returncode == 2 and "name one as `python manage.py sources` lists it" in unknown.stderr


def test_the_page_of_the_collection_shows_them(home):
    page = create_app(home, FakeEncoder()).test_client().get("/collection?lang=en").text
    assert "/a <small" in page and "2 photos, 2 captions" in page and "added <small" in page
