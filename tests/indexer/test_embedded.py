"""What a photo's own file says: filter columns and captions, gained by old collections without encoding anything anew."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from PIL import Image

import storage.segments.builder
import storage.segments.journal
from indexer import build_index, open_source
from indexer.items import EMBEDDED_ORIGIN
from search import Engine, Query
from storage import Home
from storage.filtering.evaluator import ids_where
from tests.support.fakes import FakeEncoder, photo, save_photo

MAKE, MODEL, DESCRIPTION, DATE = 0x010F, 0x0110, 0x010E, 0x9003


def taken_photo(path: Path, colour: str, date: str | None = None, description: str | None = None) -> Path:
    """A JPEG with EXIF, as a camera writes it."""
    exif = Image.Exif()
    exif[MAKE], exif[MODEL] = "Canon", "EOS 5D"
    if description:
        exif[DESCRIPTION] = description
    if date:
        exif.get_ifd(0x8769)[DATE] = date
    path.parent.mkdir(parents=True, exist_ok=True)
    photo(colour).save(path, exif=exif)
    return path


@pytest.fixture
def folder(tmp_path):
    taken_photo(tmp_path / "photos" / "red.jpg", "red", "2024:05:06 07:08:09", "A wall in May")
    taken_photo(tmp_path / "photos" / "green.jpg", "green", "2023:01:02 03:04:05")
    save_photo(tmp_path / "photos" / "blue.png", "blue")
    return tmp_path / "photos"


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home")


def build(home, folder, encoder=None):
    return build_index(home, "default", open_source(folder), encoder or FakeEncoder())


def found(home, where: str) -> list[str]:
    snapshot = home.collection("default").open_snapshot()
    return sorted(Path(image.uri).name for image in snapshot.images(ids_where(snapshot, where)))


def test_photos_are_filtered_by_what_the_camera_wrote(home, folder):
    build(home, folder)
    assert found(home, "taken >= 2024-05") == ["red.jpg"]
    assert found(home, "camera contains 'canon' and taken < 2024") == ["green.jpg"]
    assert found(home, "taken is null") == ["blue.png"]


def test_the_source_has_the_last_word(home, folder):
    (folder / "m.jsonl").write_text('{"image": "red.jpg", "taken": "1999-01-01", "album": "walls"}\n')
    build_index(home, "default", open_source(folder / "m.jsonl"), FakeEncoder())
    assert found(home, "taken < 2000 and album = 'walls' and camera = 'Canon EOS 5D'") == ["red.jpg"]


def test_a_description_in_the_photo_is_a_caption_of_its_own_origin(home, folder):
    (folder / "red.txt").write_text("a red wall")
    build(home, folder)
    snapshot = home.collection("default").open_snapshot()
    captions = [(one.text, one.origin) for one in snapshot.captions(snapshot.caption_ids())]
    assert captions == [("a red wall", "text file"), ("A wall in May", EMBEDDED_ORIGIN)]
    (hit,) = Engine(home.collection("default"), FakeEncoder()).search(Query("may", mode="lexical")).hits
    assert hit.uri.endswith("red.jpg") and hit.metadata["taken"] == "2024-05-06T07:08:09"


def test_nothing_changes_when_it_is_indexed_again(home, folder):
    build(home, folder)
    again = build(home, folder)
    assert (again.version, again.unchanged, again.added) == (1, 3, 0)
    (folder / "red.jpg").touch()
    assert build(home, folder).version == 1
    (folder / "red.txt").write_text("a red wall")
    assert build(home, folder).replaced == 1
    assert home.collection("default").manifest.captions == 2


def as_before(table):
    """What an older program made of records: a table without the column."""
    return lambda records: table([dataclasses.replace(one, embedded=None) for one in records]).drop_columns(["embedded"])


def test_an_old_collection_gains_the_columns_and_encodes_nothing(home, folder, monkeypatch):
    with monkeypatch.context() as older:
        builder = storage.segments.builder
        older.setattr(builder, "images_to_table", as_before(builder.images_to_table))
        older.setattr("indexer.plan.with_embedded_captions", lambda item, embedded: item)
        build(home, folder)
    assert found(home, "width > 0") == ["blue.png", "green.jpg", "red.jpg"]
    before = home.collection("default").open_snapshot()

    class Idle(FakeEncoder):
        def encode_images(self, images):
            raise AssertionError("nothing is encoded")

    summary = build(home, folder, Idle())

    assert (summary.replaced, summary.images) == (3, 3)
    assert found(home, "taken >= 2024-05") == ["red.jpg"]
    after = home.collection("default").open_snapshot()
    assert (after.image_vectors(after.image_ids()) == before.image_vectors(before.image_ids())).all()
    assert build(home, folder, Idle()).unchanged == 3


def test_a_rebuild_reads_it_anew_and_doubles_nothing(home, folder):
    build(home, folder)
    build_index(home, "default", open_source(folder), FakeEncoder(), rebuild=True)
    assert home.collection("default").manifest.captions == 1 and found(home, "taken >= 2024-05") == ["red.jpg"]


def test_what_an_interrupted_run_of_an_older_program_left_is_read(home, folder, monkeypatch):
    class Stopped(FakeEncoder):
        def encode_images(self, images):
            if self.calls:
                raise KeyboardInterrupt
            return super().encode_images(images)

    with monkeypatch.context() as older:
        journal = storage.segments.journal
        older.setattr(journal, "images_to_table", as_before(journal.images_to_table))
        older.setattr("indexer.segment_filler.IMAGE_BATCH", 1)
        with pytest.raises(KeyboardInterrupt):
            build(home, folder, Stopped())

    assert build(home, folder).images == 3
    assert found(home, "taken >= 2024-05") == ["red.jpg"]


def test_a_measurement_keeps_to_the_captions_of_the_source(home, folder):
    build_index(home, "default", open_source(folder), FakeEncoder(), embedded_captions=False)
    assert home.collection("default").manifest.captions == 0 and found(home, "taken >= 2024-05") == ["red.jpg"]
