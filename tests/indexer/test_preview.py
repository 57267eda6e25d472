"""`build-index --dry-run` says what `build-index` then does, and writes nothing."""

from __future__ import annotations

import os
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer import build_index, open_source
from indexer.preview import preview, preview_json, preview_lines
from storage import Home
from tests.support.fakes import COLOURS, FakeEncoder, jpeg, save_photo
from tests.support.region_fakes import FakeRegionEncoder, save_features

NAMES = [f"{number}.png" for number in range(6)]


@pytest.fixture
def folder(tmp_path):
    for name, colour in zip(NAMES, COLOURS, strict=False):
        save_photo(tmp_path / "photos" / name, colour)
    return tmp_path / "photos"


@pytest.fixture
def home(tmp_path, folder):
    home = Home(tmp_path / "home")
    build_index(home, "default", open_source(folder), FakeEncoder())
    return home


def counts(home, folder, **options) -> dict[str, int]:
    found = preview(home, "default", open_source(folder), **options)
    return {name: group.count for name, group in found.groups.items() if group.count}


def test_without_a_collection_every_photo_is_new(tmp_path, folder):
    home = Home(tmp_path / "nowhere")
    assert counts(home, folder) == {"added": 6}
    assert counts(home, folder, limit=2) == {"added": 2}
    assert not (tmp_path / "nowhere").exists()


def test_nothing_is_new(home, folder):
    assert counts(home, folder) == {"unchanged": 6}


def test_a_touched_photo_is_unchanged_and_one_with_other_pixels_or_words_is_replaced(home, folder):
    os.utime(folder / "0.png", (1, 1))
    save_photo(folder / "1.png", "black", (9, 9))
    (folder / "2.txt").write_text("a wall")
    assert counts(home, folder) == {"replaced": 2, "unchanged": 4}


def test_moved_removed_and_new_photos_are_told_apart(home, folder):
    (folder / "0.png").rename(folder / "moved.png")
    (folder / "1.png").unlink()
    save_photo(folder / "new.png", "white", (9, 9))
    found = preview(home, "default", open_source(folder))
    names = {name: [uri.rsplit("/", 1)[-1] for uri in group.uris] for name, group in found.groups.items() if group.count}
    assert names.pop("unchanged") == ["2.png", "3.png", "4.png", "5.png"]
    assert names == {"added": ["new.png"], "moved": ["moved.png"], "removed": ["1.png"]}
    assert not found.refused
    assert "1 added, 0 replaced, 1 moved, 4 unchanged, 1 removed, 0 missing" in next(preview_lines(found, "default"))
    assert preview_json(found, "default")["moved"]["count"] == 1


def test_what_the_source_holds_and_is_not_used_is_said(home, folder):
    (folder / "film.mov").write_text("x")
    found = preview(home, "default", open_source(folder))
    assert "files of other kinds were not used: MOV 1" in list(preview_lines(found, "default"))[-1]
    assert [one["kind"] for one in preview_json(found, "default")["unused"]] == ["MOV"]


def test_photos_in_a_parquet_file_that_was_written_anew(tmp_path):
    home, source = Home(tmp_path / "parquet"), tmp_path / "hf" / "photos.parquet"
    source.parent.mkdir()
    cells = [{"bytes": jpeg(colour), "path": None} for colour in ("red", "blue")]
    pq.write_table(pa.table({"image": cells}), source)
    build_index(home, "default", open_source(source), FakeEncoder(), workers=0)
    assert counts(home, source) == {"unchanged": 2}
    pq.write_table(pa.table({"image": [cells[0], cells[0], cells[1]]}), source)
    assert counts(home, source) == {"replaced": 1, "unchanged": 1, "added": 1}


def test_what_build_index_refuses_is_said(home, folder):
    for name in NAMES[:4]:
        (folder / name).unlink()
    assert preview(home, "default", open_source(folder)).refused
    assert not preview(home, "default", open_source(folder), missing="drop").refused
    assert counts(home, folder, missing="keep") == {"unchanged": 2}


@settings(max_examples=8)
@given(st.dictionaries(st.sampled_from(NAMES), st.sampled_from(["delete", "recolour", "caption", "move", "touch"])))
def test_build_index_does_what_was_said(tmp_path_factory, changes):
    base = tmp_path_factory.mktemp("base")
    for name, colour in zip(NAMES, COLOURS, strict=False):
        save_photo(base / "photos" / name, colour)
    home, folder = Home(base / "home"), base / "photos"
    build_index(home, "default", open_source(folder), FakeEncoder())
    for number, (name, change) in enumerate(changes.items()):
        path = folder / name
        if change == "delete":
            path.unlink()
        elif change == "recolour":
            save_photo(path, "black", (11 + number, 9))
        elif change == "caption":
            path.with_suffix(".txt").write_text("a wall")
        elif change == "move":
            path.rename(folder / f"moved {name}")
        else:
            os.utime(path, (1, 1))
    save_photo(folder / "always.png", "white", (5, 5))

    before = sorted(str(path) for path in (base / "home").rglob("*"))
    said = preview(home, "default", open_source(folder), missing="drop")
    assert sorted(str(path) for path in (base / "home").rglob("*")) == before
    did = build_index(home, "default", open_source(folder), FakeEncoder(), missing="drop")

    groups = {name: group.count for name, group in said.groups.items()}
    assert did.unchanged == groups["unchanged"] and did.removed == groups["removed"]
    assert did.added == groups["added"] + groups["replaced"] + groups["moved"]
    assert did.replaced == groups["replaced"] + groups["moved"]
    shutil.rmtree(base)


def test_a_photo_that_can_not_be_opened_stays(home, folder, monkeypatch):
    os.utime(folder / "0.png", (1, 1))

    def refused(photo):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("indexer.preview._sha256_of", refused)
    assert counts(home, folder) == {"unchanged": 5, "missing": 1}


def test_features_beside_photos(tmp_path):
    folder, home = tmp_path / "features", Home(tmp_path / "home")
    save_features(folder / "0.npz", "red")
    save_photo(folder / "0.png", "red")
    build_index(home, "default", open_source(folder, "regions"), FakeRegionEncoder(), workers=0)
    os.utime(folder / "0.png", (1, 1))
    found = preview(home, "default", open_source(folder, "regions"))
    assert (found.unchanged.count, found.replaced.count) == (1, 0)
