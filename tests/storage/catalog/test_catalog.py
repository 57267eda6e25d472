from __future__ import annotations

import sqlite3
import threading

import pytest

from storage import FileRecord, Home, VersionRecord
from storage.catalog.catalog import SEGMENT_DAMAGED
from storage.errors import CatalogError, UnknownRun


@pytest.fixture
def catalog(tmp_path):
    return Home(tmp_path).catalog


def failed(uri, source="/photos", reason="damaged"):
    return FileRecord(uri, source, "failed", reason=reason, sentence=f"{uri} is {reason}.")


def indexed(uri, image_id, source="/photos"):
    return FileRecord(uri, source, "indexed", 10, 2**62, "ab" * 32, image_id=image_id)


def test_the_latest_outcome_of_a_file_counts(catalog):
    catalog.record_files("walls", [failed("/photos/b.jpg"), failed("/photos/a.jpg"), indexed("/photos/c.jpg", 2**53)])
    assert [failure.uri for failure in catalog.failures("walls")] == ["/photos/a.jpg", "/photos/b.jpg"]
    catalog.record_files("walls", [indexed("/photos/a.jpg", 7)])
    assert catalog.failures("walls") == [failed("/photos/b.jpg")]
    assert catalog.files("walls")["/photos/c.jpg"] == indexed("/photos/c.jpg", 2**53)


def test_an_old_reason_code_is_read_as_the_new_one(catalog):
    old, new = failed("/photos/a.jpg", reason="segment-damaged"), failed("/photos/b.jpg", reason=SEGMENT_DAMAGED)
    catalog.record_files("walls", [old, new])

    by_uri = catalog.files("walls"), catalog.files_of("walls", [old.uri, new.uri])
    read = [catalog.failures("walls"), *([*known.values()] for known in by_uri)]
    assert [[one.reason for one in records] for records in read] == [["segment_damaged"] * 2] * 3


def test_of_many_records_at_once_the_last_one_of_a_file_counts(catalog):
    records = [indexed(f"/photos/{number}.jpg", number) for number in range(1, 1500)]
    catalog.record_files("walls", [*records, failed("/photos/3.jpg")])
    assert len(catalog.files("walls")) == 1499
    assert catalog.failures("walls") == [failed("/photos/3.jpg")]


def test_failures_of_files_that_are_gone_are_forgotten_by_source(catalog):
    gone, still, other = failed("/photos/a.jpg"), failed("/photos/b.jpg"), failed("/x/c.jpg", source="/x")
    catalog.record_files("walls", [gone, still, other])
    catalog.forget_failures("walls", "/photos", {still.uri})
    assert catalog.failures("walls") == [still, other]


def test_a_run_from_start_to_end(catalog):
    run = catalog.start_run("walls", "/photos", total=3)
    catalog.update_run(run, done=2)
    assert [(r.state, r.done, r.total, r.finished_at) for r in catalog.runs("walls")] == [("running", 2, 3, None)]
    catalog.finish_run(run, "done", added=2, failed=1, images_per_second=6.5, version=1)
    (ended,) = catalog.runs("walls")
    assert (ended.state, ended.added, ended.failed, ended.images_per_second) == ("done", 2, 1, 6.5)
    assert ended.started_at <= ended.finished_at


def test_a_run_that_was_killed_is_marked_when_the_next_begins(catalog):
    catalog.start_run("walls", "/photos", 3)
    elsewhere = catalog.start_run("other", "/photos", 3)
    catalog.start_run("walls", "/photos", 3)
    assert [run.state for run in catalog.runs("walls")] == ["running", "interrupted"]
    assert [run.run_id for run in catalog.runs("other") if run.state == "running"] == [elsewhere]


def test_a_run_that_is_announced_keeps_its_id_when_it_begins(catalog):
    run = catalog.announce_run("walls", "/photos")
    assert catalog.run("walls", run).state == "starting"
    assert catalog.start_run("walls", "/photos", 3, announced=run) == run
    assert [(r.run_id, r.state, r.total) for r in catalog.runs("walls")] == [(run, "running", 3)]

    other = catalog.announce_run("other", "/photos")
    later = catalog.start_run("walls", "/photos", 3, announced=other)  # nobody's run but the collection's own
    assert later != other
    assert (catalog.run("walls", run).state, catalog.run("other", other).state) == ("interrupted", "starting")


def test_a_run_that_was_announced_and_never_began_is_marked_like_one_that_was_killed(catalog):
    announced = catalog.announce_run("walls", "/photos")
    catalog.start_run("walls", "/photos", 3)
    assert catalog.run("walls", announced).state == "interrupted"


@pytest.mark.parametrize(("collection", "run"), [("walls", 99), ("other", 1)])
def test_an_unknown_run_is_named(catalog, collection, run):
    catalog.announce_run("walls", "/photos")
    with pytest.raises(UnknownRun, match=f"'{collection}' has no index run {run}"):
        catalog.run(collection, run)


def test_a_source_is_remembered_with_its_latest_options(catalog):
    assert catalog.sources("walls") == {}
    catalog.start_run("walls", "added", 1)
    catalog.start_run("walls", "/photos", 3, {"limit": 3})
    catalog.start_run("walls", "/before", 3, {"limit": None})
    catalog.start_run("walls", "/photos", 9, {"limit": None, "captions": ["/a\udcff.json"]})
    assert catalog.sources("walls") == {"/before": {"limit": None},
                                        "/photos": {"limit": None, "captions": ["/a\udcff.json"]}}  # fmt: skip
    assert list(catalog.sources("walls")) == ["/before", "/photos"] and catalog.sources("other") == {}


def test_versions_newest_first(catalog):
    records = [VersionRecord(number, "abcd", 10 * number, 0, "2026-01-01T00:00:00+00:00") for number in (1, 2)]
    for record in [*records, records[0]]:
        catalog.record_version("walls", record)
    assert catalog.versions("walls") == records[::-1]


def test_homes_that_share_a_database_stay_apart(tmp_path):
    url = f"sqlite:///{tmp_path}/shared.sqlite"
    one, two = (Home(tmp_path / name, catalog_url=url).catalog for name in ("one", "two"))
    one.record_files("walls", [failed("/photos/a.jpg")])
    assert (len(one.failures("walls")), two.failures("walls")) == (1, [])


def test_the_url_comes_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("PANOPTES_CATALOG", f"sqlite:///{tmp_path}/elsewhere.sqlite")
    Home(tmp_path / "home").catalog.record_files("walls", [failed("/photos/a.jpg")])
    assert (tmp_path / "elsewhere.sqlite").exists()
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("url", ["nonsense", "nodatabase://host/x", "sqlite:////nowhere/at/all.sqlite"])
def test_a_url_that_cannot_be_used_is_one_line(tmp_path, url):
    with pytest.raises(CatalogError, match="can't be used") as caught:
        Home(tmp_path, catalog_url=url).catalog.start_run("walls", "/photos", 1)
    assert "\n" not in str(caught.value)


def test_a_password_is_not_shown(tmp_path):
    with pytest.raises(CatalogError) as caught:
        Home(tmp_path, catalog_url="nodatabase://me:secret@host/x").catalog.start_run("walls", "/photos", 1)
    assert "secret" not in str(caught.value)


def test_a_file_that_is_no_database_is_named(tmp_path):
    (tmp_path / "catalog.sqlite").write_text("not a database, and long enough to be looked at" * 30)
    with pytest.raises(CatalogError, match="not a database"):
        Home(tmp_path).catalog.failures("walls")


def test_readers_do_not_wait_for_a_writer(tmp_path, catalog):
    catalog.record_files("walls", [failed("/photos/a.jpg")])
    writer = sqlite3.connect(tmp_path / "catalog.sqlite", isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    assert len(catalog.failures("walls")) == 1
    writer.execute("ROLLBACK")
    writer.close()


def test_threads_may_write_at_once(tmp_path, catalog):
    def record(number):
        Home(tmp_path).catalog.record_files("walls", [failed(f"/photos/{number}.jpg")])

    threads = [threading.Thread(target=record, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(catalog.failures("walls")) == 8


@pytest.fixture
def opened_elsewhere(tmp_path):
    """A connection that is about to write to a file which isn't in WAL mode yet."""
    connection = sqlite3.connect(tmp_path / "catalog.sqlite", isolation_level=None, check_same_thread=False)
    connection.execute("BEGIN IMMEDIATE")
    yield connection
    connection.close()


def test_a_new_catalog_waits_for_a_process_that_is_creating_it(catalog, opened_elsewhere):
    ending = threading.Timer(0.3, opened_elsewhere.execute, args=("ROLLBACK",))
    ending.start()
    catalog.record_files("walls", [failed("/photos/a.jpg")])
    ending.join()
    assert len(catalog.failures("walls")) == 1


@pytest.mark.usefixtures("opened_elsewhere")
def test_the_wait_for_a_catalog_that_stays_locked_has_an_end(catalog, monkeypatch):
    monkeypatch.setattr("storage.catalog.sqlite.BUSY_MS", 50)
    with pytest.raises(CatalogError, match="database is locked"):
        catalog.record_files("walls", [failed("/photos/a.jpg")])


def test_a_home_may_have_any_name(tmp_path):
    home = tmp_path / "photos?#%20"
    Home(home).catalog.start_run("default", "/photos", 1)
    assert (home / "catalog.sqlite").is_file()
    assert [path.name for path in tmp_path.iterdir()] == [home.name]
