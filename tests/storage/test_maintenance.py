"""Deleting, compacting, and rolling back to an older version."""

from __future__ import annotations

import json

import pytest

import storage.history
import storage.maintenance
from storage import Home
from storage.errors import CollectionBusy, EmptyCollection, UnfinishedRun, UnknownId, UnknownVersion, UnusableHome
from storage.maintenance import changed_lines, compact, delete_images, roll_back, version_lines, versions
from tests.support.storage_examples import ENCODER, add_colours, nearest, segment_data

WEIGHTS = ENCODER.fingerprint


@pytest.fixture
def home(tmp_path):
    """Red is image 1, green 2 and blue 3; version 1 has the first two."""
    home = Home(tmp_path / "home")
    for colours in (("red", "green"), ("blue",)):
        add(home, *colours)
    return home


def add(home, *colours):
    with home.create_collection("walls").writer(WEIGHTS) as writer:
        add_colours(writer, *colours)
        return writer.publish(f"{len(colours)} added")


def living(home):
    return home.collection("walls").open_snapshot().image_ids().tolist()


def rows(snapshot):
    ids = snapshot.image_ids()
    return (
        ids.tolist(),
        snapshot.image_vectors(ids).tobytes(),
        snapshot.tokens(ids).tobytes(),
        snapshot.images(ids),
        snapshot.captions_of(ids),
        [snapshot.thumbnail(id) for id in ids],
    )


def test_deleted_images_are_gone_and_come_back_with_a_rollback(home):
    before = rows(home.collection("walls").open_snapshot())
    assert delete_images(home, "walls", [2, 2])["deleted"] == [2]
    assert living(home) == [1, 3]
    assert roll_back(home, "walls", 2)["version"] == 4
    assert rows(home.collection("walls").open_snapshot()) == before
    assert [one["version"] for one in versions(home, "walls")["versions"]] == [4, 3, 2, 1]


def test_an_unknown_id_deletes_nothing(home):
    with pytest.raises(UnknownId, match="No image has the id 9 "):
        delete_images(home, "walls", [1, 9])
    assert (living(home), home.collection("walls").manifest.version) == ([1, 2, 3], 2)


def test_an_image_that_another_process_has_just_deleted_is_unknown(home, monkeypatch):
    changed = storage.maintenance.changed

    def late(*arguments):
        monkeypatch.setattr(storage.maintenance, "changed", changed)
        delete_images(home, "walls", [1])
        return changed(*arguments)

    monkeypatch.setattr(storage.maintenance, "changed", late)
    with pytest.raises(UnknownId, match="No image has the id 1 "):
        delete_images(home, "walls", [1, 2])
    assert living(home) == [2, 3]


def test_the_catalog_is_corrected_before_another_process_can_write(home, monkeypatch):
    orphaned_files = home.catalog.orphaned_files

    def alone(*arguments):
        with pytest.raises(CollectionBusy):
            home.collection("walls").writer(WEIGHTS)
        return orphaned_files(*arguments)

    monkeypatch.setattr(home.catalog, "orphaned_files", alone)
    assert delete_images(home, "walls", [1])["images"] == 2


def test_versions_say_when_how_much_and_what_changed(home):
    delete_images(home, "walls", [1])
    entries = versions(home, "walls")["versions"]
    assert [(one["images"], one["captions"], one["change"]) for one in entries] == [
        (2, 4, "1 deleted"),
        (3, 6, "1 added"),
        (2, 4, "2 added"),
    ]
    assert all(one["published_at"] and one["model_fingerprint"] == WEIGHTS for one in entries)
    assert [record.version for record in home.catalog.versions("walls")] == [3]


def test_compaction_drops_the_dead_and_changes_nothing_else(home):
    delete_images(home, "walls", [2])
    before = rows(home.collection("walls").open_snapshot())
    done = compact(home, "walls", keep=0)
    assert (done["changed"], done["version"]) == (True, 4) and done["bytes_after"] < done["bytes_before"]
    snapshot = home.collection("walls").open_snapshot()
    assert rows(snapshot) == before
    assert (home.collection("walls").manifest.tombstones, nearest(snapshot, "blue")) == ((), 3)
    assert snapshot.image_index.count == 2
    assert not compact(home, "walls")["changed"]


def test_compaction_of_a_collection_from_which_all_was_deleted(home):
    delete_images(home, "walls", [1, 2, 3])
    assert compact(home, "walls", keep=0)["images"] == 0
    add(home, "white")
    assert living(home) == [4]


def test_ids_are_never_used_again_after_a_rollback(home):
    roll_back(home, "walls", 1)
    add(home, "yellow")
    assert living(home) == [1, 2, 4]
    roll_back(home, "walls", 2)
    assert living(home) == [1, 2, 3]


def test_old_versions_keep_their_files_until_they_are_pruned(home):
    folder = home.collection("walls").folder
    with home.collection("walls").writer(WEIGHTS, rebuild=True) as writer:
        add_colours(writer, "white")
        writer.publish()
    assert len(list((folder / "segments").iterdir())) == 3
    compact(home, "walls", keep=1)
    assert [one["version"] for one in versions(home, "walls")["versions"]] == [3, 2]
    assert roll_back(home, "walls", 2)["images"] == 3
    compact(home, "walls", keep=0)
    assert sorted(path.name for path in (folder / "versions").iterdir()) == [
        f"{home.collection('walls').manifest.version}.json"
    ]


def test_only_the_last_versions_are_kept(home, monkeypatch):
    for _ in range(storage.history.KEPT_VERSIONS + 3):
        add(home, "white")
    kept = [one["version"] for one in versions(home, "walls")["versions"]]
    assert kept == list(range(kept[0], kept[0] - storage.history.KEPT_VERSIONS - 1, -1))
    with pytest.raises(UnknownVersion, match=rf"version 1 \(there are {kept[1]}, "):
        roll_back(home, "walls", 1)


def test_a_version_that_was_only_prepared_is_no_version(home):
    """As after a kill between the two writes of a publication."""
    folder = home.collection("walls").folder
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "versions" / "3.json").write_text(json.dumps({**manifest, "version": 3}))
    assert [one["version"] for one in versions(home, "walls")["versions"]] == [2, 1]
    with pytest.raises(UnknownVersion):
        roll_back(home, "walls", 3)
    assert delete_images(home, "walls", [3])["version"] == 3


def test_a_collection_that_is_older_than_the_history_opens(home):
    folder = home.collection("walls").folder
    for path in (folder / "versions").iterdir():
        path.unlink()
    manifest = json.loads((folder / "manifest.json").read_text())
    for later in ("images", "captions", "change"):
        del manifest[later]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    delete_images(home, "walls", [1])
    assert roll_back(home, "walls", 2)["images"] == 3


def leave_unfinished(home):
    with home.collection("walls").writer(WEIGHTS) as writer:
        builder = writer.begin_segment(16, (4, 8))
        data = segment_data({writer.new_image_id(): "white", writer.new_image_id(): "black"})
        builder.add_images(data.images, data.image_vectors, data.tokens, data.thumbnails)
        builder.suspend()


def test_an_interrupted_run_is_not_lost_by_accident(home):
    leave_unfinished(home)
    for act in (
        lambda **o: delete_images(home, "walls", [1], **o),
        lambda **o: roll_back(home, "walls", 1, **o),
        lambda **o: compact(home, "walls", **o),
    ):
        with pytest.raises(UnfinishedRun, match="2 photos encoded and not published"):
            act()
    with home.collection("walls").writer(WEIGHTS) as writer:
        assert writer.unfinished.image_count == 2
    delete_images(home, "walls", [1], drop_unfinished=True)
    with home.collection("walls").writer(WEIGHTS) as writer:
        assert writer.unfinished is None


def test_a_second_writer_and_an_empty_collection_are_refused(home):
    with home.collection("walls").writer(WEIGHTS), pytest.raises(CollectionBusy):
        delete_images(home, "walls", [1])
    home.create_collection("empty")
    with pytest.raises(EmptyCollection):
        compact(home, "empty")


def test_a_disk_that_refuses_is_one_line_and_changes_nothing(home, monkeypatch):
    monkeypatch.setattr("storage.history.History.keep", lambda *anything: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(UnusableHome, match="No space left"):
        delete_images(home, "walls", [1])
    assert living(home) == [1, 2, 3]


def test_reports_say_what_was_done(home):
    said = " ".join(changed_lines(delete_images(home, "walls", [1])))
    assert said.startswith("1 image deleted") and "`python manage.py rollback 2 --collection walls`" in said
    assert any("1 deleted" in line for line in version_lines(versions(home, "walls")))
    assert "version 4 now" in " ".join(changed_lines(roll_back(home, "walls", 1)))
    assert "bytes" in " ".join(changed_lines(compact(home, "walls")))
