"""Tests of index runs: first runs, bad files, second runs, rebuilds and incomplete sources."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest

import indexer.segment_filler
from indexer import FolderSource, SourceCaption, SourceItem, build_index, open_source
from indexer.sources.base import Source
from storage import Home
from storage.errors import CollectionBusy, EmptyCollection, OtherWeights, UnusableHome
from tests.support.fakes import COLOURS, FakeEncoder, save_photo

NAMES = ["red", "green", "blue", "yellow"]


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home")


@pytest.fixture
def photos(tmp_path):
    """Four photos, red.png to yellow.png, each with a caption in either language."""
    folder = tmp_path / "photos"
    for name in NAMES:
        add_photo(folder, name)
    return folder


def add_photo(folder, name, colour=None):
    save_photo(folder / f"{name}.png", colour or name)
    (folder / f"{name}.txt").write_text(f"a {name} wall\n一面墙 {name}", encoding="utf-8")


def build(home, source, encoder=None, **options):
    encoder = encoder or FakeEncoder()
    return build_index(home, "walls", open_source(source), encoder, **{"workers": 0, **options})


def snapshot(home):
    return home.collection("walls").open_snapshot()


def ids_by_name(home):
    opened = snapshot(home)
    return {os.path.basename(image.uri): image.image_id for image in opened.images(opened.image_ids())}


def captions_by_id(home):
    opened = snapshot(home)
    return {caption.caption_id: caption.text for caption in opened.captions(opened.caption_ids())}


def encoded(encoder, call="encode_images"):
    return sum(count for name, count in encoder.calls if name == call)


# A first run


@pytest.mark.parametrize("workers", [0, 2])
def test_photos_and_captions_become_a_collection(home, photos, workers):
    summary = build(home, photos, workers=workers)
    assert (summary.images, summary.captions, summary.added, summary.unchanged) == (4, 8, 4, 0)
    assert (summary.failures, summary.version, summary.replaced, summary.resumed) == ([], 1, 0, 0)
    assert summary.seconds > 0
    assert summary.images_per_second == pytest.approx(4 / summary.seconds)
    opened = snapshot(home)
    for image in opened.images(opened.image_ids()):
        name = os.path.basename(image.uri).removesuffix(".png")
        assert image.uri == str(photos / f"{name}.png")
        assert (image.width, image.height, image.source) == (48, 32, str(photos))
        assert image.bytes == os.path.getsize(image.uri)
        assert (opened.tokens([image.image_id])[0, 0, :3] * 255).round() == pytest.approx(COLOURS[name], abs=0.5)
        captions = opened.captions_of([image.image_id])[image.image_id]
        assert [(c.language, c.text) for c in captions] == [("en", f"a {name} wall"), ("zh", f"一面墙 {name}")]
        found = opened.image_index.search(FakeEncoder().encode_texts([name]).vectors, 1)[1]
        assert found.tolist() == [[image.image_id]]


def test_a_run_is_in_the_catalog(home, photos):
    (photos / "bad.png").write_text("x")
    build(home, photos)
    (run,) = home.catalog.runs("walls")
    assert (run.state, run.source, run.total, run.done) == ("done", str(photos), 5, 5)
    assert (run.added, run.unchanged, run.failed, run.version) == (4, 0, 1, 1)
    (version,) = home.catalog.versions("walls")
    assert (version.version, version.images, version.captions) == (1, 4, 8)


def test_an_announced_run_keeps_its_id(home, photos):
    announced = home.catalog.announce_run("walls", str(photos))
    build(home, photos, announced=announced)
    assert [(run.run_id, run.state, run.total) for run in home.catalog.runs("walls")] == [(announced, "done", 4)]


def test_the_options_of_a_source_are_remembered(home, photos, tmp_path):
    more = tmp_path / "more.json"
    more.write_text(json.dumps({"images": [{"id": 1, "file_name": "red.png"}],
                                "annotations": [{"image_id": 1, "caption": "rouge"}]}))  # fmt: skip
    source = open_source(photos, "folder", [os.path.relpath(more)], ["fr"])
    build_index(home, "walls", source, FakeEncoder(), workers=0, limit=2, missing="keep")
    listed = Source(tmp_path / "listed", list(source))  # this can't be opened again
    build_index(home, "walls", listed, FakeEncoder(), workers=0)
    assert home.catalog.sources("walls") == {str(photos): {
        "format": "folder", "captions": [str(more)], "languages": ["fr"], "limit": 2, "keep_missing": True}}  # fmt: skip
    build(home, photos)
    assert home.catalog.sources("walls")[str(photos)] == {
        "format": None, "captions": [], "languages": [], "limit": None, "keep_missing": False}  # fmt: skip


def test_progress_counts_every_photo_once(home, photos):
    (photos / "bad.png").write_text("x")
    steps = []
    build(home, photos, progress=lambda *step: steps.append(step))
    counts = [done for stage, done, total in steps if stage == "photos" and total == 5]
    assert (counts[0], counts[-1]) == (0, 5)
    assert counts == sorted(counts)
    assert steps[-2:] == [("publish", 0, 1), ("publish", 1, 1)]


def test_a_limit_takes_the_first_photos(home, photos):
    summary = build(home, photos, limit=2)
    assert (summary.images, sorted(ids_by_name(home))) == (2, ["blue.png", "green.png"])
    assert build(home, photos).added == 2


def test_batches_are_full_and_segments_are_bounded(home, tmp_path, monkeypatch):
    monkeypatch.setattr(indexer.segment_filler, "IMAGE_BATCH", 4)
    monkeypatch.setattr(indexer.segment_filler, "TEXT_BATCH", 6)
    monkeypatch.setattr(indexer.segment_filler, "SEGMENT_IMAGES", 8)
    for number in range(21):
        add_photo(tmp_path / "many", f"p{number}", (number * 10, 9, 9))
    encoder = FakeEncoder()
    summary = build(home, tmp_path / "many", encoder)
    assert (summary.images, summary.captions) == (21, 42)
    images = [count for name, count in encoder.calls if name == "encode_images"]
    texts = [count for name, count in encoder.calls if name == "encode_texts"]
    assert images == [4, 4, 4, 4, 4, 1]
    assert texts == [6, 6, 4, 6, 6, 4, 6, 4]  # two full segments of 16 captions, then one of 10
    assert len(home.collection("walls").manifest.segments) == 3
    opened = snapshot(home)
    for image in opened.images(opened.image_ids()):
        name = os.path.basename(image.uri).removesuffix(".png")
        captions = opened.captions_of([image.image_id])[image.image_id]
        assert [caption.text for caption in captions] == [f"a {name} wall", f"一面墙 {name}"]


def test_photos_without_captions_can_be_searched(home, tmp_path):
    save_photo(tmp_path / "photos" / "a.png", "red")
    summary = build(home, tmp_path / "photos")
    assert (summary.images, summary.captions) == (1, 0)
    assert snapshot(home).caption_index.search(np.ones((1, 16)), 2)[1].tolist() == [[-1, -1]]


def test_metadata_is_kept(home, tmp_path):
    item = SourceItem(save_photo(tmp_path / "a.png"), [SourceCaption("en", "a", "o")], {"taken": {"年": 2017}})
    build_index(home, "walls", Source(tmp_path, [item]), FakeEncoder(), workers=0)
    assert snapshot(home).images([1])[0].metadata == {"taken": {"年": 2017}}
    assert build_index(home, "walls", Source(tmp_path, [item]), FakeEncoder(), workers=0).unchanged == 1


# Bad files


@pytest.mark.parametrize("workers", [0, 2])
def test_bad_photos_are_listed_and_the_run_continues(home, photos, workers):
    (photos / "green.png").write_text("not a photo")
    (photos / "gone.png").symlink_to(photos / "nowhere.png")
    summary = build(home, photos, workers=workers)
    assert (summary.images, summary.added) == (3, 3)
    expected = {str(photos / "gone.png"): "missing", str(photos / "green.png"): "not_an_image"}
    assert {failure.uri: failure.reason for failure in summary.failures} == expected
    assert {failure.uri: failure.reason for failure in home.catalog.failures("walls")} == expected
    assert sorted(ids_by_name(home)) == ["blue.png", "red.png", "yellow.png"]


def test_a_mended_or_removed_photo_is_no_longer_listed(home, photos):
    for name in ("green", "red"):
        (photos / f"{name}.png").write_text("not a photo")
    assert len(build(home, photos).failures) == 2
    assert len(build(home, photos).failures) == 2
    add_photo(photos, "green")
    (photos / "red.png").unlink()
    summary = build(home, photos)
    assert (summary.failures, summary.added) == ([], 1)
    assert home.catalog.failures("walls") == []


def test_a_photo_that_became_unreadable_stays_searchable(home, photos):
    before = build(home, photos)
    (photos / "green.png").write_text("not a photo")
    summary = build(home, photos)
    assert (summary.images, summary.version, len(summary.failures)) == (4, before.version, 1)
    add_photo(photos, "green")
    summary = build(home, photos)
    assert (summary.unchanged, summary.added, summary.failures) == (4, 0, [])


def test_an_unreadable_text_file_is_listed(home, photos):
    (photos / "red.txt").write_bytes(b"\xff\xff\xff")
    summary = build(home, photos)
    assert (summary.images, summary.captions) == (4, 6)
    assert [failure.reason for failure in summary.failures] == ["caption_unreadable"]
    (photos / "red.txt").write_text("a red wall")
    summary = build(home, photos)
    assert (summary.captions, summary.failures, home.catalog.failures("walls")) == (7, [], [])


def test_a_file_name_that_is_not_utf8_is_indexed_like_any_other(home, photos):
    odd = os.fsdecode(os.fsencode(photos) + b"/\xff.png")
    try:
        save_photo(photos / "new.png", "white").rename(odd)
    except OSError:
        pytest.skip("this file system takes only UTF-8")
    summary = build(home, photos)
    assert (summary.images, summary.failures) == (5, [])
    found = snapshot(home).image_index.search(FakeEncoder().encode_texts(["white"]).vectors, 1)[1][0]
    assert [image.uri for image in snapshot(home).images(found)] == [f"file://{photos}/%FF.png"]
    assert build(home, photos).unchanged == 5
    os.utime(odd, (1, 1))
    assert build(home, photos).unchanged == 5
    assert build(home, photos, rebuild=True).images == 5
    os.truncate(odd, 20)
    (failure,) = build(home, photos).failures
    assert failure.uri == f"file://{photos}/%FF.png" and failure.uri in failure.sentence


def test_with_only_bad_photos_nothing_is_published(home, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_text("x")
    summary = build(home, tmp_path / "photos")
    assert (summary.images, summary.version, len(summary.failures)) == (0, 0, 1)
    with pytest.raises(EmptyCollection):
        snapshot(home)


# A second run


def test_an_unchanged_source_needs_no_encoding(home, photos):
    build(home, photos)
    encoder = FakeEncoder()
    summary = build(home, photos, encoder)
    assert (summary.added, summary.unchanged, summary.version) == (0, 4, 1)
    assert (summary.images, summary.captions, summary.images_per_second) == (4, 8, 0)
    assert encoder.calls == []


def test_an_unchanged_source_is_not_even_read(home, photos, monkeypatch):
    build(home, photos)
    monkeypatch.setattr("indexer.photo_pool.load_photo", lambda job: pytest.fail("was read"))
    assert build(home, photos).unchanged == 4


@pytest.mark.parametrize("lost", ["times", "catalog"])
def test_content_decides_when_times_changed_or_the_catalog_is_lost(home, photos, lost):
    build(home, photos)
    if lost == "catalog":
        (home.path / "catalog.sqlite").unlink()
    else:
        for path in photos.iterdir():
            os.utime(path, (1, 1))
    encoder = FakeEncoder()
    assert build(Home(home.path), photos, encoder).unchanged == 4
    assert encoder.calls == []


def test_only_new_photos_of_a_source_are_added(home, photos):
    build(home, photos)
    before = ids_by_name(home)
    add_photo(photos, "white")
    encoder = FakeEncoder()
    summary = build(home, photos, encoder)
    assert (summary.added, summary.unchanged, summary.images, summary.version) == (1, 4, 5, 2)
    assert encoder.calls == [("encode_images", 1), ("encode_texts", 2)]
    assert ids_by_name(home) == {**before, "white.png": 5}


def test_two_sources_share_a_collection(home, photos, tmp_path):
    build(home, photos)
    add_photo(tmp_path / "more", "white")
    assert build(home, tmp_path / "more").images == 5


def test_a_changed_photo_is_replaced_under_a_new_id(home, photos):
    build(home, photos)
    before = ids_by_name(home)
    save_photo(photos / "green.png", "black")
    summary = build(home, photos)
    assert (summary.added, summary.replaced, summary.unchanged, summary.images) == (1, 1, 3, 4)
    after = ids_by_name(home)
    assert after == {**before, "green.png": 5}
    assert home.collection("walls").manifest.tombstones == (before["green.png"],)
    assert (snapshot(home).tokens([5])[0, 0, :3] < 0.1).all()
    assert build(home, photos).unchanged == 4


def test_changed_captions_do_not_encode_the_photo_again(home, photos):
    build(home, photos)
    before = snapshot(home)
    (photos / "green.txt").write_text("something else")
    encoder = FakeEncoder()
    summary = build(home, photos, encoder)
    assert (summary.replaced, summary.captions) == (1, 7)
    assert encoder.calls == [("encode_texts", 1)]
    assert "something else" in captions_by_id(home).values()
    old, new = before.image_vectors([2]), snapshot(home).image_vectors([ids_by_name(home)["green.png"]])
    assert (old == new).all()


def test_a_copy_or_a_moved_photo_is_not_encoded_again(home, photos):
    build(home, photos)
    shutil.copy(photos / "green.png", photos / "copy.png")
    encoder = FakeEncoder()
    assert build(home, photos, encoder).added == 1
    assert encoder.calls == []
    opened, ids = snapshot(home), ids_by_name(home)
    assert (opened.tokens([ids["copy.png"]]) == opened.tokens([ids["green.png"]])).all()


def test_a_moved_photo_is_removed_from_its_old_path(home, photos):
    build(home, photos)
    (photos / "green.png").rename(photos / "moved.png")
    (photos / "green.txt").rename(photos / "moved.txt")
    shutil.copy(photos / "moved.png", photos / "also.png")
    encoder = FakeEncoder()
    summary = build(home, photos, encoder)
    assert (summary.images, summary.added, summary.replaced, summary.unchanged) == (5, 2, 1, 3)
    assert encoded(encoder) == 0
    assert sorted(ids_by_name(home)) == ["also.png", "blue.png", "moved.png", "red.png", "yellow.png"]


def test_only_one_run_writes_at_a_time(home, photos):
    with home.create_collection("walls").writer("x"), pytest.raises(CollectionBusy):
        build(home, photos)


def test_a_full_disk_is_one_line_and_damages_nothing(home, photos, monkeypatch):
    build(home, photos)
    add_photo(photos, "white")

    def full(*anything, **named):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as context:
        context.setattr("storage.segments.builder.pq.write_table", full)
        with pytest.raises(UnusableHome, match="No space left on device"):
            build(home, photos)
    assert snapshot(home).image_count == 4
    assert [run.state for run in home.catalog.runs("walls")] == ["failed", "done"]
    assert build(home, photos).added == 1


# Other weights, and rebuilding


def test_other_weights_need_a_rebuild(home, photos):
    build(home, photos)
    newer = FakeEncoder(fingerprint="fake000000000002")
    with pytest.raises(OtherWeights, match="Collection 'walls' was indexed by other weights"):
        build(home, photos, newer)
    summary = build(home, photos, newer, rebuild=True)
    assert (summary.images, summary.added, summary.version, encoded(newer)) == (4, 4, 2, 4)
    assert snapshot(home).model_fingerprint == newer.fingerprint
    assert build(home, photos, newer).unchanged == 4


def test_a_rebuild_keeps_ids_by_photo_and_by_caption(home, photos):
    build(home, photos)
    images, captions = ids_by_name(home), captions_by_id(home)
    (photos / "red.png").unlink()
    add_photo(photos, "white")
    with (photos / "green.txt").open("a") as file:
        file.write("\none more")
    build(home, photos, rebuild=True)
    del images["red.png"]
    assert ids_by_name(home) == {**images, "white.png": 5}
    after = captions_by_id(home)
    assert {id: text for id, text in captions.items() if "red" not in text}.items() <= after.items()
    assert sorted(after) == sorted(set(after))
    assert min(id for id, text in after.items() if "white" in text or text == "one more") == 9


def test_a_rebuild_of_one_source_keeps_what_came_from_others(home, photos, tmp_path):
    build(home, photos)
    add_photo(tmp_path / "more", "white")
    build(home, tmp_path / "more")
    before, encoder = ids_by_name(home), FakeEncoder()
    summary = build(home, photos, encoder, rebuild=True)
    assert (summary.images, summary.captions, encoded(encoder)) == (5, 10, 5)
    assert ids_by_name(home) == before
    opened = snapshot(home)
    assert opened.images([before["white.png"]])[0].source == str(tmp_path / "more")
    assert build(home, tmp_path / "more").unchanged == 1


def test_a_rebuild_works_on_a_damaged_collection(home, photos):
    build(home, photos)
    collection = home.collection("walls")
    segment = collection.folder / "segments" / collection.manifest.segments[0]
    (segment / "image_tokens.npy").write_bytes(b"")
    assert build(home, photos, rebuild=True).images == 4
    (collection.folder / "manifest.json").write_text("{")
    assert build(home, photos, rebuild=True).images == 4
    assert build(home, photos).unchanged == 4


@pytest.mark.parametrize("damaged", ["manifest.json", "index/2/images.faiss"])
def test_a_rebuild_finds_photos_of_other_sources_after_damage(home, photos, tmp_path, damaged):
    add_photo(tmp_path / "more", "white")
    build(home, tmp_path / "more")
    build(home, photos)
    (home.collection("walls").folder / damaged).write_bytes(b"{")
    assert build(home, photos, rebuild=True).images == 5
    assert ids_by_name(home)["white.png"] == 1


def test_an_open_source_can_be_used_twice(home, photos):
    source = FolderSource(photos)
    for expected in (4, 0):
        assert build_index(home, "walls", source, FakeEncoder(), workers=0).added == expected


# What a source could not list does not count as vanished


def listed(path, names, *lines):
    """Write a manifest of photos by name, and these other lines."""
    path.write_text("\n".join([*(f'{{"image": "{name}.png"}}' for name in names), *lines]))
    return path


def test_a_damaged_line_removes_no_photo(home, photos):
    manifest = listed(photos / "m.jsonl", NAMES)
    build(home, manifest)
    summary = build(home, listed(manifest, NAMES[:3], '{"image": "yell'))
    assert (summary.images, summary.removed, [failure.reason for failure in summary.failures]) == (4, 0, ["bad_line"])
    assert build(home, listed(manifest, NAMES[:3])).removed == 1


def test_damaged_annotations_remove_no_photo(home, photos):
    (photos / "annotations").mkdir()
    for name in NAMES[:3]:
        content = {"images": [{"id": 1, "file_name": f"{name}.png"}], "annotations": []}
        (photos / "annotations" / f"captions_{name}.json").write_text(json.dumps(content))
    build(home, photos)
    (photos / "annotations" / "captions_red.json").write_text("{")
    assert (build(home, photos).images, len(ids_by_name(home))) == (3, 3)
    (photos / "annotations" / "captions_red.json").write_text('{"images": [{"id": 1}], "annotations": []}')
    assert build(home, photos).images == 3
    (photos / "annotations" / "captions_red.json").unlink()
    assert build(home, photos).images == 2
