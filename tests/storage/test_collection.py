from __future__ import annotations

import errno
import os
import shutil
import threading

import numpy as np
import pytest

import storage.index_files
import storage.segments.merging
import storage.writer
from storage import Home, Manifest
from storage.errors import (
    BrokenManifest,
    BrokenSegment,
    CollectionBusy,
    EmptyCollection,
    InvalidName,
    OtherWeights,
    StorageError,
    UnknownCollection,
    UnknownId,
    UnreadableSegment,
    UnusableHome,
    WrongShape,
)
from tests.support.storage_examples import ENCODER, add_colours, damaged_segments, nearest, segment_data

WEIGHTS = ENCODER.fingerprint


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home")


@pytest.fixture
def collection(home):
    """A collection with a published version 1: red is image 1, green is image 2."""
    made = home.create_collection("walls")
    with made.writer(WEIGHTS) as writer:
        add_colours(writer, "red", "green")
        writer.publish()
    return made


def everything_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def leave_unpublished(collection, *colours, **options):
    """Leave what a run leaves that was killed after it finished a segment; the ids of its images."""
    with collection.writer(WEIGHTS, **options) as writer:
        return add_colours(writer, *colours)


def test_reading_creates_nothing(tmp_path, home):
    assert home.collection_names() == []
    assert home.catalog.failures("walls") == home.catalog.runs("walls") == []
    with pytest.raises(UnknownCollection, match="there is none yet"):
        home.collection("walls")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_collection_names_those_that_exist(home):
    home.create_collection("cats")
    home.create_collection("boats")
    with pytest.raises(UnknownCollection, match=r"No collection 'dogs' here \(there are boats, cats\)"):
        home.collection("dogs")


@pytest.mark.parametrize("name", ["", "..", ".hidden", "a/b", "a\\b", "a b", "a\n", "-x", "a" * 65, "\0"])
def test_a_name_that_is_no_folder_name_is_refused(home, name):
    for ask in (home.collection, home.create_collection):
        with pytest.raises(InvalidName, match="can't be a collection's name"):
            ask(name)


def test_a_home_that_cannot_be_written_to_is_named(tmp_path):
    (tmp_path / "home").write_text("a file")
    with pytest.raises(UnusableHome, match="Can't write to .*home "):
        Home(tmp_path / "home").create_collection("walls")


def test_a_home_is_where_it_was_when_the_program_started(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    home = Home("var")
    monkeypatch.chdir("/")
    assert home.path == tmp_path / "var"


def test_a_collection_without_a_version_says_so(home):
    empty = home.create_collection("walls")
    assert empty.manifest == Manifest(version=0)
    with pytest.raises(EmptyCollection, match="Nothing is indexed in collection 'walls' yet"):
        empty.open_snapshot()


def test_a_published_version_can_be_searched(collection):
    snapshot = collection.open_snapshot()
    assert (snapshot.version, snapshot.model_fingerprint) == (1, WEIGHTS)
    assert (snapshot.image_count, snapshot.caption_count, snapshot.languages) == (2, 4, ["en", "zh"])
    assert (nearest(snapshot, "red"), nearest(snapshot, "绿")) == (1, 2)
    found = snapshot.caption_index.search(ENCODER.encode_texts(["green"]).vectors, 9)[1][0]
    assert snapshot.captions(found[:1])[0].text == "a green wall"
    assert sorted(found)[-4:] == [1, 2, 3, 4]
    assert damaged_segments(collection) == {}


def test_nothing_is_visible_before_it_is_published(collection):
    with collection.writer(WEIGHTS) as writer:
        add_colours(writer, "blue")
        assert collection.open_snapshot().image_count == 2
        writer.publish()
    assert collection.open_snapshot().image_count == 3


def test_a_reader_keeps_its_version(collection):
    before = collection.open_snapshot()
    with collection.writer(WEIGHTS, rebuild=True) as writer:
        add_colours(writer, "blue")
        writer.publish()
    assert [image.uri for image in before.images([1, 2])] == ["/photos/1.jpg", "/photos/2.jpg"]
    assert before.tokens([2]).shape == (1, 4, 8)
    assert before.thumbnail(1)
    assert collection.open_snapshot().image_ids().tolist() == [3]


def test_a_second_writer_is_refused(collection):
    with collection.writer(WEIGHTS), pytest.raises(CollectionBusy, match=rf"another command \(process {os.getpid()}\)"):
        collection.writer(WEIGHTS)
    collection.writer(WEIGHTS).close()


def test_a_writer_reads_the_manifest_only_under_the_lock(collection, monkeypatch):
    """A run that publishes just before this one gets the lock must not lose what it published."""
    take_lock = storage.writer.take_lock

    def late(folder):
        monkeypatch.setattr(storage.writer, "take_lock", take_lock)
        with collection.writer(WEIGHTS) as other:
            add_colours(other, "blue")
            other.publish()
        return take_lock(folder)

    monkeypatch.setattr(storage.writer, "take_lock", late)
    with collection.writer(WEIGHTS) as writer:
        add_colours(writer, "yellow")
        assert writer.publish().version == 3
    assert collection.open_snapshot().image_ids().tolist() == [1, 2, 3, 4]


def test_a_refused_writer_releases_the_lock(collection):
    with pytest.raises(OtherWeights):
        collection.writer("beefbeefbeefbeef")
    (collection.folder / "manifest.json").write_text("{")
    with pytest.raises(BrokenManifest):
        collection.writer(WEIGHTS)
    collection.writer(WEIGHTS, rebuild=True).close()


def test_other_weights_are_refused(collection):
    with pytest.raises(OtherWeights, match="Collection 'walls' was indexed by other weights"):
        collection.writer("beefbeefbeefbeef")
    collection.writer(WEIGHTS).close()


def test_publishing_nothing_makes_no_version(collection):
    with collection.writer(WEIGHTS) as writer:
        assert writer.publish().version == 1
    assert collection.manifest.version == 1


def test_ids_go_on_where_they_stopped_and_are_never_used_twice(collection):
    with collection.writer(WEIGHTS) as writer:
        assert (writer.new_image_id(), writer.new_caption_id()) == (3, 5)
        data = segment_data({1000: "blue"})
        writer.add_segment(data)
        writer.publish()
    with collection.writer(WEIGHTS) as writer:
        assert writer.new_image_id() == 1001


def test_vectors_of_another_width_never_join_a_collection(collection):
    with collection.writer(WEIGHTS) as writer, pytest.raises(WrongShape, match="in a collection of"):
        writer.begin_segment(17, (4, 8))


def test_a_tombstone_deletes_the_image_and_its_captions(collection):
    with collection.writer(WEIGHTS) as writer:
        writer.tombstone(2)
        assert writer.publish().tombstones == (2,)
    snapshot = collection.open_snapshot()
    assert snapshot.image_ids().tolist() == [1]
    assert snapshot.caption_ids().tolist() == [1, 2]
    assert (snapshot.image_index.count, snapshot.caption_index.count) == (1, 2)
    assert nearest(snapshot, "green") == 1
    assert 3 not in snapshot.caption_index.search(np.ones((1, 16)), 9)[1]
    with pytest.raises(UnknownId):
        snapshot.images([2])
    with pytest.raises(UnknownId):
        snapshot.captions([3])


def test_tables_hold_what_is_alive_in_the_order_of_ids(collection):
    with collection.writer(ENCODER.fingerprint) as writer:
        first, second = add_colours(writer, "red", "blue")
        writer.tombstone(first)
        writer.publish()

    snapshot = collection.open_snapshot()

    assert snapshot.image_table()["image_id"].to_pylist() == snapshot.image_ids().tolist() == [1, 2, second]
    assert snapshot.caption_table()["caption_id"].to_pylist() == snapshot.caption_ids().tolist()
    assert set(snapshot.caption_table()["image_id"].to_pylist()) == {1, 2, second}


def test_a_tombstone_alone_needs_no_new_index(collection):
    with collection.writer(WEIGHTS) as writer:
        writer.tombstone(2)
        assert writer.publish().index == "1"
        add_colours(writer, "blue")
        assert writer.publish().index == "3"
    snapshot = collection.open_snapshot()
    assert (snapshot.image_ids().tolist(), nearest(snapshot, "green"), nearest(snapshot, "blue")) == ([1, 3], 1, 3)


def test_a_rebuild_replaces_everything_and_removes_the_old_files(collection):
    old = collection.manifest
    with collection.writer("beefbeefbeefbeef", rebuild=True) as writer:
        add_colours(writer, "yellow")
        assert collection.open_snapshot().image_ids().tolist() == [1, 2]
        new = writer.publish()
        writer.prune(0)
    assert (new.version, new.fingerprint) == (2, "beefbeefbeefbeef")
    assert collection.open_snapshot().image_ids().tolist() == [3]
    left = everything_in(collection.folder)
    assert not any(name in path for path in left for name in old.segments)
    assert "index/1" not in left


def test_a_rebuild_without_a_single_segment_keeps_what_was_there(collection):
    with collection.writer(WEIGHTS, rebuild=True) as writer:
        assert writer.publish().version == 1
    assert collection.open_snapshot().image_count == 2


# What a killed run leaves behind


def test_finished_segments_are_taken_over(collection):
    ids = leave_unpublished(collection, "blue")
    with collection.writer(WEIGHTS) as writer:
        assert [image.image_id for image in writer.adopted.images(ids)] == ids
        assert writer.new_image_id() == ids[-1] + 1
        writer.publish()
    assert collection.open_snapshot().image_ids().tolist() == [1, 2, *ids]


def test_unfinished_segments_are_swept(collection):
    before = everything_in(collection.folder)
    writer = collection.writer(WEIGHTS)
    writer.begin_segment(16, (4, 8))
    writer.close()
    assert everything_in(collection.folder) != before
    collection.writer(WEIGHTS).close()
    assert everything_in(collection.folder) == before


@pytest.mark.parametrize("how", ["rebuild", "other weights", "damaged"])
def test_segments_that_do_not_continue_the_version_are_swept(collection, how):
    before = everything_in(collection.folder)
    if how == "other weights":
        with collection.writer("beefbeefbeefbeef", rebuild=True) as writer:
            add_colours(writer, "blue")
    else:
        leave_unpublished(collection, "blue", rebuild=how == "rebuild")
    if how == "damaged":
        newest = max((collection.folder / "segments").iterdir())
        (newest / "image_tokens.npy").write_bytes(b"")
    with collection.writer(WEIGHTS) as writer:
        assert writer.adopted.image_count == 0
        assert writer.publish().version == 1
    assert everything_in(collection.folder) == before


def test_segments_that_cannot_be_read_at_the_moment_are_not_swept(collection, monkeypatch):
    """Too many open files is no damage."""
    leave_unpublished(collection, "blue")
    before = everything_in(collection.folder)

    def refuse(*anything, **named):
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as context:
        context.setattr("storage.segments.reader.np.load", refuse)
        with pytest.raises(UnreadableSegment, match="Too many open files"):
            collection.writer(WEIGHTS)
    assert everything_in(collection.folder) == before
    with collection.writer(WEIGHTS) as writer:
        assert writer.adopted.image_count == 1


def test_an_interrupted_rebuild_is_continued_by_a_rebuild(collection):
    ids = leave_unpublished(collection, "blue", rebuild=True)
    with collection.writer(WEIGHTS, rebuild=True) as writer:
        assert writer.adopted.image_ids().tolist() == ids
        writer.publish()
    assert collection.open_snapshot().image_ids().tolist() == ids


STEPS = ["sync_tree", "rename", "make_folder", "save", "replace"]


@pytest.mark.parametrize("step", STEPS)
def test_dying_at_any_step_of_a_publication_harms_nothing(collection, monkeypatch, step):
    """Whatever was reached, readers see version 1 whole, and the next run publishes what was finished."""
    where = {"rename": os, "replace": os, "make_folder": storage.index_files, "sync_tree": storage.files, "save": Manifest}

    def die(*anything):
        raise SystemExit(step)

    with collection.writer(WEIGHTS) as writer:
        add_colours(writer, "blue")
        with monkeypatch.context() as dying:
            dying.setattr(where[step], step, die)
            with pytest.raises(SystemExit, match=step):
                writer.publish()
    assert collection.open_snapshot().image_ids().tolist() == [1, 2]
    with collection.writer(WEIGHTS) as writer:
        assert writer.publish().version == 2
    snapshot = collection.open_snapshot()
    assert snapshot.image_ids().tolist() == [1, 2, 3]
    assert nearest(snapshot, "blue") == 3
    assert not [path for path in everything_in(collection.folder) if ".tmp" in path and "manifest" not in path]


def test_readers_see_whole_versions_while_others_are_published(collection):
    """Rebuilds remove the files that a reader may be just opening."""
    problems, seen, stop = [], set(), threading.Event()

    def read():
        while not stop.is_set():
            try:
                snapshot = collection.open_snapshot()
                seen.add(snapshot.version)
                assert snapshot.image_count == (2 if snapshot.version == 1 else 1)
                snapshot.tokens(snapshot.image_ids())
            except (StorageError, AssertionError) as error:
                problems.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(12):
        with collection.writer(WEIGHTS, rebuild=True) as writer:
            add_colours(writer, "blue")
            writer.publish()
    stop.set()
    reader.join()
    assert problems == []
    assert len(seen) > 1


# Many small additions


@pytest.fixture
def merging_at_four(monkeypatch):
    monkeypatch.setattr(storage.segments.merging, "MAX_SMALL", 3)
    monkeypatch.setattr(storage.segments.merging, "FULL", 5)
    monkeypatch.setattr(storage.segments.merging, "ROWS_AT_ONCE", 2)


def add_one_by_one(collection, *colours):
    for colour in colours:
        with collection.writer(WEIGHTS) as writer:
            add_colours(writer, colour)
            writer.publish()


def contents(snapshot):
    """Everything that a snapshot holds, by id."""
    ids = snapshot.image_ids()
    arrays = {id: (snapshot.tokens([id]).tolist(), snapshot.image_vectors([id]).tolist()) for id in ids.tolist()}
    captions = snapshot.caption_ids()
    vectors = dict(zip(captions.tolist(), snapshot.caption_vectors(captions).tolist(), strict=True))
    thumbnails = [snapshot.thumbnail(id) for id in ids]
    return snapshot.images(ids), snapshot.captions_of(ids), arrays, vectors, thumbnails


def test_many_small_segments_are_merged_and_nothing_else_changes(collection, merging_at_four):
    add_one_by_one(collection, "blue", "yellow")
    before = collection.open_snapshot()
    assert len(collection.manifest.segments) == 3
    with collection.writer(WEIGHTS) as writer:
        add_colours(writer, "white", "black")
        writer.tombstone(2)
        manifest = writer.publish()
        writer.prune(0)
    assert (len(manifest.segments), manifest.tombstones) == (1, ())
    after = collection.open_snapshot()
    assert damaged_segments(collection) == {}
    assert after.image_ids().tolist() == [1, 3, 4, 5, 6]
    assert nearest(after, "yellow") == 4
    for old, new in zip(contents(before), contents(after), strict=True):
        if isinstance(old, dict):
            assert {key: new[key] for key in old if key in new} == {key: old[key] for key in old if key in new}
        else:
            assert [row for row in new if row in old] == [old[0], *old[2:]]
    assert [path.name for path in (collection.folder / "segments").iterdir()] == list(manifest.segments)


def test_what_is_merged_is_cut_at_full_segments(collection, merging_at_four):
    add_one_by_one(collection, "blue", "yellow", "white", "black")
    manifest = collection.manifest
    assert collection.open_snapshot().image_ids().tolist() == [1, 2, 3, 4, 5, 6]
    assert len(manifest.segments) == 2


def test_dying_after_a_merge_harms_nothing(collection, merging_at_four, monkeypatch):
    add_one_by_one(collection, "blue", "yellow")
    with collection.writer(WEIGHTS) as writer, monkeypatch.context() as dying:
        add_colours(writer, "white")
        dying.setattr(Manifest, "save", lambda *anything: (_ for _ in ()).throw(SystemExit))
        with pytest.raises(SystemExit):
            writer.publish()
    assert collection.open_snapshot().image_ids().tolist() == [1, 2, 3, 4]
    with collection.writer(WEIGHTS) as writer:
        assert writer.adopted.image_ids().tolist() == [5]
        assert len(writer.publish().segments) == 1
    assert collection.open_snapshot().image_ids().tolist() == [1, 2, 3, 4, 5]


def test_ids_of_tombstones_that_were_merged_away_are_never_used_again(collection, merging_at_four):
    with collection.writer(WEIGHTS) as writer:
        (last,) = add_colours(writer, "blue")
        writer.publish()
        writer.tombstone(last)
        writer.publish()
    add_one_by_one(collection, "yellow", "white")
    assert (collection.manifest.tombstones, collection.open_snapshot().image_ids().tolist()) == ((), [1, 2, 4, 5])


# Damage


def test_a_missing_segment_is_named(collection):
    shutil.rmtree(collection.folder / "segments" / collection.manifest.segments[0])
    with pytest.raises(BrokenSegment, match="is damaged"):
        collection.open_snapshot()


def test_an_index_of_another_version_is_not_searched(collection):
    old = collection.folder / "index" / "1"
    shutil.copytree(old, collection.folder / "kept")
    with collection.writer(WEIGHTS) as writer:
        add_colours(writer, "blue")
        writer.publish()
    shutil.copytree(collection.folder / "kept", collection.folder / "index" / "2", dirs_exist_ok=True)
    with pytest.raises(StorageError, match=r"images\.faiss is damaged \(2 vectors of 16 numbers for 3 rows\)"):
        collection.open_snapshot()


def test_a_damaged_manifest_refuses_writers_but_a_rebuild(collection):
    manifest = collection.folder / "manifest.json"
    good = manifest.read_text()
    manifest.write_text("{")
    with pytest.raises(BrokenManifest):
        collection.open_snapshot()
    with pytest.raises(BrokenManifest):
        collection.writer(WEIGHTS)

    leave_unpublished(collection, "blue", rebuild=True)
    manifest.write_text(good)  # nothing was removed: restoring the file is enough
    assert collection.open_snapshot().image_ids().tolist() == [1, 2]

    manifest.write_text("{")
    with collection.writer(WEIGHTS, rebuild=True) as writer:
        add_colours(writer, "yellow")
        new = writer.publish()
    assert new.version > 1
    assert collection.open_snapshot().image_ids().min() > 2
