"""Tests of a detector's features as a source: indexing, updates, and models that can't read them."""

from __future__ import annotations

import io
import json
import os

import numpy as np
import pytest
from PIL import Image

from encoder.runtime.pair import PairedEncoder
from indexer import RegionsSource, build_index, open_source
from indexer.errors import EmptySource, WrongModel
from storage import Home
from tests.support.fakes import FakeEncoder, save_photo
from tests.support.region_fakes import FakeRegionEncoder, save_features


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home")


@pytest.fixture
def folder(tmp_path):
    """Three features; one has its photo beside it, one a caption."""
    save_features(tmp_path / "features" / "red.npz", "red")
    save_features(tmp_path / "features" / "blue.npz", "blue", size=(64, 16))
    save_features(tmp_path / "features" / "green.jpg.npz", "green")
    save_photo(tmp_path / "features" / "green.jpg", "green", (90, 60))
    (tmp_path / "features" / "red.txt").write_text("a red wall\n")
    return tmp_path / "features"


def built(home, source, encoder=None, **options):
    return build_index(home, "default", open_source(source), encoder or FakeRegionEncoder(), workers=0, **options)


def records(home) -> dict:
    snapshot = home.collection("default").open_snapshot()
    return {os.path.basename(one.uri): one for one in snapshot.images(snapshot.image_ids())}


def found(home, text: str, encoder=None) -> str:
    snapshot = home.collection("default").open_snapshot()
    vector = (encoder or FakeRegionEncoder()).encode_texts([text]).vectors
    _, ids = snapshot.image_index.search(vector, 1)
    return os.path.basename(snapshot.images(ids[0])[0].uri)


def test_features_and_photos_of_one_name_are_one_item(folder):
    source = open_source(folder)
    assert isinstance(source, RegionsSource)
    assert [item.uri.name for item in source] == ["blue.npz", "green.jpg", "red.npz"]
    blue, green, red = source
    assert green.metadata == {"features": str(folder / "green.jpg.npz")} and blue.metadata == {}
    assert [caption.text for caption in red.captions] == ["a red wall"]


def test_a_table_of_captions_is_found_beside_features_too(folder):
    (folder / "captions.csv").write_text("image,caption\nblue,a blue wall\n")
    (folder / "notes.txt").write_text("nobody's")
    source = open_source(folder)
    assert [[caption.text for caption in item.captions] for item in source] == [["a blue wall"], [], ["a red wall"]]
    assert [(one["why"], one["count"]) for one in source.unused.as_json()] == [("text_of_no_photo", 1)]


def test_a_folder_of_features_is_indexed_and_found(home, folder):
    summary = built(home, folder)
    assert (summary.images, summary.captions, summary.failures) == (3, 1, [])
    assert [found(home, colour) for colour in ("red", "green", "blue")] == ["red.npz", "green.jpg", "blue.npz"]
    kept = records(home)
    assert (kept["blue.npz"].width, kept["blue.npz"].height) == (64, 16)
    assert (kept["green.jpg"].width, kept["green.jpg"].height) == (90, 60)


def test_the_thumbnail_shows_the_photo_or_else_the_boxes(home, folder):
    built(home, folder)
    snapshot = home.collection("default").open_snapshot()
    pictures = {name: Image.open(io.BytesIO(snapshot.thumbnail(one.image_id))) for name, one in records(home).items()}
    assert pictures["green.jpg"].size == (90, 60) and pictures["green.jpg"].getpixel((3, 3))[1] > 150
    assert pictures["blue.npz"].size == (512, 128)


def test_worker_processes_give_the_same_vectors(home, folder, tmp_path):
    built(home, folder)
    other = Home(tmp_path / "other")
    build_index(other, "default", open_source(folder), FakeRegionEncoder(), workers=1)
    one, two = (h.collection("default").open_snapshot() for h in (home, other))
    np.testing.assert_array_equal(one.image_vectors(one.image_ids()), two.image_vectors(two.image_ids()))


@pytest.mark.parametrize("changed", ["green.jpg", "green.jpg.npz"])
def test_only_changed_files_are_encoded_again(home, folder, changed):
    built(home, folder)
    encoder = FakeRegionEncoder()
    assert built(home, folder, encoder).unchanged == 3 and encoder.calls == []
    if changed.endswith("npz"):
        save_features(folder / changed, "yellow")
    else:
        save_photo(folder / changed, "white", (30, 30))
    summary = built(home, folder, encoder)
    assert (summary.added, summary.replaced, summary.unchanged) == (1, 1, 2)
    assert encoder.calls == [("encode_images", 1)]


def test_a_touched_file_is_read_and_not_encoded(home, folder):
    built(home, folder)
    os.utime(folder / "green.jpg.npz", (1, 1))
    encoder = FakeRegionEncoder()
    assert built(home, folder, encoder).unchanged == 3 and encoder.calls == []


def test_bad_features_are_recorded_with_their_reason_and_the_others_are_indexed(home, folder):
    save_features(folder / "hollow.npz", feat=np.full((4, 8), np.nan))
    save_features(folder / "pickled.npz", feat=np.array([{}] * 4, dtype=object))
    save_features(folder / "nothing.npz", feat=np.empty((0, 8)), pred_boxes=np.empty((0, 4)))
    save_features(folder / "other.npz", feat=np.zeros((4, 9)))
    save_features(folder / "flat.npz", height=np.array(0))
    (folder / "torn.npz").write_bytes(b"PK\3\4torn")
    summary = built(home, folder)
    assert summary.images == 3
    assert {os.path.basename(one.uri): one.reason for one in summary.failures} == {
        "hollow.npz": "not_finite",
        "pickled.npz": "pickled",
        "nothing.npz": "no_regions",
        "other.npz": "wrong_shape",
        "flat.npz": "zero_size",
        "torn.npz": "not_npz",
    }
    assert len(home.catalog.failures("default")) == 6
    save_features(folder / "hollow.npz", "yellow")
    assert len(built(home, folder).failures) == 5 and found(home, "yellow") == "hollow.npz"


def test_a_manifest_lists_features_with_or_without_a_photo(home, tmp_path):
    save_features(tmp_path / "boxes" / "1.npz", "red")
    save_features(tmp_path / "boxes" / "2.npz", "blue")
    save_photo(tmp_path / "photos" / "1.jpg", "red")
    lines = [
        {"image": "photos/1.jpg", "features": "boxes/1.npz", "captions": {"zh": ["红色的墙"]}, "album": "a"},
        {"features": "boxes/2.npz", "captions": {"en": ["the sky"]}},
    ]
    manifest = tmp_path / "list.jsonl"
    manifest.write_text("\n".join(map(json.dumps, lines)))
    assert built(home, manifest).images == 2
    kept = records(home)
    assert kept["1.jpg"].metadata == {"album": "a", "features": str(tmp_path / "boxes" / "1.npz")}
    assert kept["2.npz"].metadata == {}


def test_features_that_are_no_npz_are_metadata(home, tmp_path):
    save_photo(tmp_path / "a.jpg", "red")
    (tmp_path / "list.jsonl").write_text(json.dumps({"image": "a.jpg", "features": ["wheels"]}))
    assert built(home, tmp_path / "list.jsonl", FakeEncoder()).images == 1
    assert records(home)["a.jpg"].metadata == {"features": ["wheels"]}


def test_a_rebuild_finds_the_features_again(home, folder, tmp_path):
    built(home, folder)
    save_features(tmp_path / "more" / "white.npz", "white")
    encoder = FakeRegionEncoder("fake000000000003")
    assert built(home, tmp_path / "more", encoder, rebuild=True).images == 4
    assert found(home, "green", encoder) == "green.jpg"


def test_a_model_that_reads_photos_refuses_features_in_one_line(home, tmp_path):
    save_features(tmp_path / "lone" / "a.npz")
    with pytest.raises(WrongModel, match="has a detector's features only, and the model reads photos") as error:
        built(home, tmp_path / "lone", FakeEncoder())
    assert "\n" not in str(error.value) and home.collection_names() == []


def test_a_model_that_reads_features_refuses_photos_in_one_line(home, tmp_path):
    save_photo(tmp_path / "photos" / "a.jpg")
    with pytest.raises(WrongModel, match="has photos only, and the model reads a detector's features") as error:
        built(home, tmp_path / "photos")
    assert "\n" not in str(error.value) and home.collection_names() == []


def test_each_model_reads_what_it_can_of_a_mixed_folder(home, folder, tmp_path):
    summary = built(home, folder, FakeEncoder())
    assert summary.images == 1 and {one.reason for one in summary.failures} == {"no_photo"}
    save_photo(folder / "white.jpg", "white")
    other = Home(tmp_path / "other")
    summary = build_index(other, "default", open_source(folder, "regions"), FakeRegionEncoder(), workers=0)
    assert summary.images == 3 and [one.reason for one in summary.failures] == ["no_features"]


def test_a_folder_with_a_photo_without_features_is_a_folder_of_photos(folder):
    save_photo(folder / "white.jpg", "white")
    source = open_source(folder)
    assert source.format == "folder" and [item.uri.name for item in source] == ["green.jpg", "white.jpg"]
    assert len(open_source(folder, "regions")) == 4


def test_a_pair_of_a_pixel_model_and_a_region_reranker(home, folder):
    pair = PairedEncoder(FakeEncoder(), FakeRegionEncoder())
    save_photo(folder / "red.jpg", "red")
    summary = built(home, folder, pair)
    assert summary.images == 2 and [one.reason for one in summary.failures] == ["no_photo"]
    snapshot = home.collection("default").open_snapshot()
    assert snapshot.model_fingerprint == pair.fingerprint
    assert found(home, "red", pair) == "red.jpg"


def test_a_folder_without_features_is_refused_as_regions(tmp_path):
    save_photo(tmp_path / "a.jpg")
    with pytest.raises(EmptySource, match="npz"):
        open_source(tmp_path, "regions")


def test_two_features_of_one_photo_are_two_items(tmp_path):
    save_photo(tmp_path / "a.jpg")
    save_features(tmp_path / "a.npz")
    save_features(tmp_path / "a.jpg.npz")
    assert sorted(item.uri.name for item in open_source(tmp_path)) == ["a.jpg", "a.npz"]


def test_a_missing_file_is_recorded(home, tmp_path):
    save_features(tmp_path / "1.npz", "red")
    lines = [{"features": "1.npz"}, {"features": "2.npz"}, {"features": "folder.npz"}]
    (tmp_path / "folder.npz").mkdir()
    (tmp_path / "list.jsonl").write_text("\n".join(map(json.dumps, lines)))
    summary = built(home, tmp_path / "list.jsonl")
    assert summary.images == 1 and [one.reason for one in summary.failures] == ["missing", "not_a_file"]
