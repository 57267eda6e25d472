"""Tests of photos that vanish from their source, are added by path or tried again, and of vectors that are checked."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from indexer import build_index, open_source
from indexer.errors import MissingPhoto, MostVanished
from indexer.items import captions_from
from indexer.upkeep import added_photos, added_summary, check_sample, encode_again, kept_exclusions, retry_failures
from storage import Home
from storage.errors import OtherWeights
from storage.maintenance import versions
from storage.photo_uri import beginnings
from storage.repair import repair
from storage.status import failures
from storage.verification import verify
from tests.support.fakes import FakeEncoder, save_photo

NAMES = ["red", "green", "blue", "yellow"]


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home")


@pytest.fixture
def photos(tmp_path):
    """Four photos, each with a caption."""
    for name in NAMES:
        add_photo(tmp_path / "photos", name)
    return tmp_path / "photos"


def add_photo(folder, name, colour=None):
    save_photo(folder / f"{name}.png", colour or name)
    (folder / f"{name}.txt").write_text(f"a {name} wall")


def build(home, source, encoder=None, **options):
    return build_index(home, "walls", open_source(source), encoder or FakeEncoder(), workers=0, **options)


def add(home, *paths, captions=()):
    source = added_photos(home, "walls", paths, captions_from(captions, "add"))
    summary = build_index(home, "walls", source, FakeEncoder(), workers=0, partial=True)
    return added_summary(summary, source, home, "walls")


def names(home):
    snapshot = home.collection("walls").open_snapshot()
    return sorted(Path(image.uri).stem for image in snapshot.images(snapshot.image_ids()))


def captions_of(home, uri):
    snapshot = home.collection("walls").open_snapshot()
    (image_id,) = snapshot.find([str(uri)]).values()
    return [(caption.language, caption.text) for caption in snapshot.captions_of([image_id])[image_id]]


# Photos that vanish from their source


def test_vanished_photos_are_removed_with_their_captions(home, photos):
    build(home, photos)
    (photos / "red.png").unlink()
    encoder = FakeEncoder()
    summary = build(home, photos, encoder)
    assert (summary.removed, summary.added, summary.images, summary.captions, encoder.calls) == (1, 0, 3, 3, [])
    assert names(home) == ["blue", "green", "yellow"]
    assert versions(home, "walls")["versions"][0]["change"] == "1 removed"
    assert verify(home, "walls")["problems"] == []
    add_photo(photos, "red")
    assert build(home, photos).added == 1


def test_renamed_photos_are_not_counted_as_vanished(home, photos):
    build(home, photos)
    before = home.collection("walls").open_snapshot()
    (photos / "sub").mkdir()
    for path in list(photos.glob("*.*")):
        path.rename(photos / "sub" / path.name)
    encoder = FakeEncoder()
    summary = build(home, photos, encoder)
    assert (summary.images, summary.replaced, summary.removed) == (4, 4, 0)
    assert [name for name, _ in encoder.calls] == ["encode_texts"]
    after = home.collection("walls").open_snapshot()
    assert (after.image_vectors(after.image_ids()) == before.image_vectors(before.image_ids())).all()


def test_vanished_photos_can_be_kept(home, photos):
    build(home, photos)
    (photos / "red.png").unlink()
    assert build(home, photos, missing="keep").removed == 0
    assert names(home) == sorted(NAMES)


def test_a_limit_removes_nothing(home, photos):
    build(home, photos)
    assert build(home, photos, limit=1).removed == 0
    assert names(home) == sorted(NAMES)


def test_removing_more_than_half_needs_drop_missing(home, photos):
    build(home, photos)
    for name in NAMES[:3]:
        (photos / f"{name}.png").unlink()
    add_photo(photos, "white")
    with pytest.raises(MostVanished, match="3 of the 4 photos .* are gone"):
        build(home, photos)
    assert names(home) == sorted(NAMES)
    assert build(home, photos, missing="drop").removed == 3
    assert names(home) == ["white", "yellow"]


def test_missing_files_that_a_manifest_names_count_as_vanished_and_encoded_photos_are_kept(home, tmp_path, photos):
    manifest = tmp_path / "photos.jsonl"
    manifest.write_text("".join(f'{{"image": "photos/{name}.png"}}\n' for name in NAMES))
    build(home, manifest)
    photos.rename(tmp_path / "unmounted")
    add_photo(tmp_path / "photos", "white")
    with manifest.open("a") as file:
        file.write('{"image": "photos/white.png"}\n')
    with pytest.raises(MostVanished, match="4 of the 4"):
        build(home, manifest)
    assert names(home) == sorted(NAMES)
    shutil.copytree(tmp_path / "unmounted", tmp_path / "photos", dirs_exist_ok=True)
    encoder = FakeEncoder()
    summary = build(home, manifest, encoder)
    assert (summary.images, summary.resumed, summary.unchanged, encoder.calls) == (5, 1, 4, [])
    (photos / "red.png").unlink()
    summary = build(home, manifest)
    assert (summary.removed, [failure.reason for failure in summary.failures]) == (1, ["missing"])


def test_a_photo_that_became_unreadable_is_not_removed(home, photos):
    build(home, photos)
    (photos / "red.png").write_text("no photo")
    assert build(home, photos).removed == 0
    (listed,) = failures(home, "walls")["failures"]
    assert (listed["reason"], listed["searchable"]) == ("not_an_image", True)


def test_photos_of_other_sources_do_not_count_as_vanished(home, photos, tmp_path):
    build(home, photos)
    add_photo(tmp_path / "more", "white")
    assert build(home, tmp_path / "more").removed == 0
    assert len(names(home)) == 5


def test_photos_below_an_unreadable_folder_are_not_removed(home, photos):
    add_photo(photos / "sub", "white")
    build(home, photos)
    source = open_source(photos)
    source = source.with_items([item for item in source if item.uri.parent == photos], [])
    source.hidden_prefixes += beginnings(photos / "sub")
    assert build_index(home, "walls", source, FakeEncoder(), workers=0).removed == 0
    assert "white" in names(home)


def test_a_rebuild_from_a_source_that_lost_most_photos_is_refused(home, photos):
    build(home, photos)
    for name in NAMES[:3]:
        (photos / f"{name}.png").unlink()
    with pytest.raises(MostVanished):
        build(home, photos, rebuild=True)
    assert names(home) == sorted(NAMES)
    assert build(home, photos, rebuild=True, missing="drop").images == 1


# Photos by path


def test_photos_are_added_by_path_and_found_by_their_captions(home, photos, tmp_path):
    build(home, photos)
    white = save_photo(tmp_path / "elsewhere" / "white.png", "white")
    answer = add(home, white, captions=["fresh snow", "白雪"])
    assert answer["ids"] == {str(white): 5} and answer["failures"] == []
    assert captions_of(home, white) == [("en", "fresh snow"), ("zh", "白雪")]
    assert build(home, photos).removed == 0


def test_a_known_photo_keeps_its_captions_and_gets_the_new_ones(home, photos):
    build(home, photos)
    before = home.collection("walls").open_snapshot()
    answer = add(home, photos / "red.png", captions=["a red wall", "all red"])
    assert captions_of(home, photos / "red.png") == [("en", "a red wall"), ("en", "all red")]
    after = home.collection("walls").open_snapshot()
    old, new = before.find([str(photos / "red.png")]).values(), answer["ids"].values()
    assert (before.image_vectors(list(old)) == after.image_vectors(list(new))).all()
    assert after.image_count == 4


def test_a_path_that_does_not_exist_adds_nothing(home, photos):
    with pytest.raises(MissingPhoto, match="There is no file .*nowhere.png"):
        add(home, photos / "red.png", photos / "nowhere.png")
    assert home.collection_names() == []


# Failures


def test_failures_are_tried_again_with_what_their_sources_say_now(home, photos, tmp_path):
    for name in ("bad", "worse"):
        (photos / f"{name}.png").write_text("no photo")
    (photos / "red.txt").write_bytes(b"\xff\xff")
    single = tmp_path / "single.png"
    single.write_text("no photo")
    build(home, photos)
    add(home, single)
    assert len(failures(home, "walls")["failures"]) == 4
    add_photo(photos, "bad", "white")
    (photos / "red.txt").write_text("a red wall")
    save_photo(single, "black")
    add_photo(photos, "new", "black")
    answer = retry_failures(home, "walls", FakeEncoder())
    assert answer["tried"] == 4
    assert [(Path(one["uri"]).name, one["reason"], one["searchable"]) for one in answer["failures"]] == [
        ("worse.png", "not_an_image", False)
    ]
    assert names(home) == sorted([*NAMES, "bad", "single"])
    assert captions_of(home, photos / "red.png") == [("en", "a red wall")]


@pytest.mark.parametrize("name", ["red.zh.txt", "red.png.txt", "RED.TXT", "red.caption"])
def test_a_text_that_was_mended_is_read_whatever_its_name(home, photos, name):
    (photos / "red.txt").unlink(missing_ok=True)
    (photos / name).write_bytes(b"\xff")
    assert [failure.reason for failure in build(home, photos).failures] == ["caption_unreadable"]
    (photos / name).write_text("a red wall")
    assert retry_failures(home, "walls", FakeEncoder())["failures"] == []
    assert [text for _, text in captions_of(home, photos / "red.png")] == ["a red wall"]


def test_a_retry_leaves_out_what_the_source_leaves_out(home, photos):
    for name in ("bad", "worse"):
        (photos / f"{name}.png").write_text("no photo")
    build_index(home, "walls", open_source(photos, exclude=["worse.*"]), FakeEncoder(), workers=0)
    for name in ("bad", "worse"):
        add_photo(photos, name, "white")
    assert retry_failures(home, "walls", FakeEncoder())["failures"] == []
    assert names(home) == sorted([*NAMES, "bad"])


def test_the_patterns_of_a_source_are_kept_with_it_alone(home, photos, tmp_path):
    (photos / "sub").mkdir()
    add_photo(photos / "sub", "deep", "white")
    build_index(home, "walls", open_source(photos / "sub", exclude=["x"]), FakeEncoder(), workers=0)
    listed = tmp_path / "listed" / "manifest.jsonl"
    listed.parent.mkdir()
    listed.write_text(json.dumps({"image": str(photos / "red.png")}))
    build_index(home, "walls", open_source(listed.parent, exclude=["y"]), FakeEncoder(), workers=0)
    kept = [kept_exclusions(home, "walls", path) for path in (photos, photos / "sub", listed, listed.parent, tmp_path)]
    assert kept == [[], ["x"], ["y"], ["y"], []]
    assert kept_exclusions(home, "nothing", photos) == []


def test_a_retried_photo_gets_the_captions_of_the_separate_file(home, photos, tmp_path):
    more = tmp_path / "more.json"
    more.write_text(
        json.dumps(
            {
                "images": [{"id": 1, "file_name": "bad.png"}, {"id": 2, "file_name": "red.png"}],
                "annotations": [{"image_id": 1, "caption": "méchant"}, {"image_id": 2, "caption": "rouge"}],
            }
        )
    )
    (photos / "bad.png").write_text("no photo")
    build_index(home, "walls", open_source(photos, None, [more], ["fr"]), FakeEncoder(), workers=0)
    save_photo(photos / "bad.png", "white")
    assert retry_failures(home, "walls", FakeEncoder())["failures"] == []
    assert ("fr", "méchant") in captions_of(home, photos / "bad.png")


def test_failures_of_a_vanished_source_stay_listed(home, photos):
    (photos / "bad.png").write_text("no photo")
    build(home, photos)
    shutil.rmtree(photos)
    assert len(retry_failures(home, "walls", FakeEncoder())["failures"]) == 1
    assert names(home) == sorted(NAMES)


# Damage


def test_photos_of_a_damaged_segment_are_encoded_again(home, photos, tmp_path):
    build(home, photos)
    white = save_photo(tmp_path / "white.png", "white")
    add(home, white, captions=["snow"])
    collection = home.collection("walls")
    tokens = collection.folder / "segments" / collection.manifest.segments[0] / "image_tokens.npy"
    content = bytearray(tokens.read_bytes())
    content[-1] ^= 1
    tokens.write_bytes(content)
    assert [problem["where"] for problem in verify(home, "walls")["problems"]] == ["segment"]
    answer, lost = repair(home, "walls")
    assert (answer["images"], len(lost)) == (1, 4)
    assert {one["reason"] for one in failures(home, "walls")["failures"]} == {"segment_damaged"}
    assert encode_again(home, "walls", FakeEncoder(), lost) == 4
    assert names(home) == sorted([*NAMES, "white"])
    assert captions_of(home, photos / "green.png") == [("en", "a green wall")]
    assert failures(home, "walls")["failures"] == verify(home, "walls")["problems"] == []
    assert build(home, photos).unchanged == 4


def test_what_was_indexed_after_the_damage_is_not_overwritten(home, photos):
    build(home, photos)
    collection = home.collection("walls")
    (collection.folder / "segments" / collection.manifest.segments[0] / "image_tokens.npy").write_bytes(b"x")
    _, lost = repair(home, "walls")
    (photos / "green.txt").write_text("a meadow")
    build(home, photos)
    before = captions_of(home, photos / "green.png"), collection.manifest.version
    assert encode_again(home, "walls", FakeEncoder(), lost) == 4
    assert (captions_of(home, photos / "green.png"), collection.manifest.version) == before


@pytest.mark.parametrize("readable", [True, False])
def test_photos_of_a_removed_segment_can_be_retried(home, photos, readable):
    build(home, photos)
    collection = home.collection("walls")
    segment = collection.folder / "segments" / collection.manifest.segments[0]
    (segment / ("image_vectors.npy" if readable else "images.parquet")).write_bytes(b"x")
    answer, lost = repair(home, "walls")
    assert (answer["images"], len(lost)) == (0, 4 if readable else 0)
    answer = retry_failures(home, "walls", FakeEncoder())
    assert (answer["tried"], answer["failures"], names(home)) == (4, [], sorted(NAMES))
    assert verify(home, "walls")["problems"] == []


def test_a_sample_is_encoded_again_and_compared(home, photos):
    build(home, photos)
    collection = home.collection("walls")
    sample, problems = check_sample(collection, FakeEncoder(), 3)
    assert (sample["checked"], sample["skipped"], problems) == (3, 0, []) and sample["lowest_cosine"] > 0.999
    save_photo(photos / "red.png", "black")
    (photos / "blue.png").unlink()
    assert check_sample(collection, FakeEncoder(), 9)[0]["skipped"] == 2

    class Other(FakeEncoder):
        def _vectors(self, colours):
            return np.roll(super()._vectors(colours), 1, axis=1)

    assert len(check_sample(collection, Other(), 9)[1]) == 2
    with pytest.raises(OtherWeights):
        check_sample(collection, FakeEncoder("beefbeefbeefbeef"), 9)
