"""The catalog of a home that can't be written: it is read as it is, with what a journal beside it holds."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from storage import Catalog, FileRecord, Home, VersionRecord
from storage.errors import CatalogError, UnusableHome
from tests.support.read_only import by_another_owner, open_folder

BROKEN = FileRecord("/photos/a.jpg", "/photos", "failed", reason="damaged", sentence="It is damaged.")


@pytest.fixture
def home():
    """A home with a catalog, which has a run, a source, a version and a failure."""
    with open_folder() as folder:
        catalog = Home(folder / "home?#%20 ü").catalog
        catalog.finish_run(catalog.start_run("walls", "/photos", 1, {"limit": None}), "done", failed=1)
        catalog.record_files("walls", [BROKEN])
        catalog.record_version("walls", VersionRecord(1, "abcd", 1, 0, "2026-01-01T00:00:00+00:00"))
        yield folder / "home?#%20 ü"


def all_of(catalog: Catalog) -> list:
    run = catalog.runs("walls")[0]
    return [run.state, catalog.run("walls", run.run_id), catalog.sources("walls"), catalog.versions("walls"),
            catalog.failures("walls"), catalog.files("walls"), catalog.files_of("walls", [BROKEN.uri])]  # fmt: skip


def listing(folder: Path) -> list:
    return sorted((path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in folder.rglob("*"))


def test_a_catalog_that_cannot_be_written_is_read(home):
    expected, before = all_of(Home(home).catalog), listing(home)
    with by_another_owner(home):
        assert all_of(Home(home).catalog) == expected and expected[4] == [BROKEN]
    assert listing(home) == before


@pytest.mark.parametrize("modes", [(0o444, 0o777), (0o666, 0o555)])
def test_only_the_file_or_only_the_folder_may_be_read_only(home, modes):
    expected = all_of(Home(home).catalog)
    with by_another_owner(home, *modes):
        assert all_of(Home(home).catalog) == expected
        with pytest.raises(UnusableHome):
            Home(home).catalog.record_files("walls", [BROKEN])


def test_what_writes_says_that_the_catalog_cannot_be_written(home):
    with by_another_owner(home):
        catalog = Home(home).catalog
        for write in (lambda: catalog.start_run("walls", "/photos", 1), lambda: catalog.forget_files("walls", [BROKEN.uri])):
            with pytest.raises(UnusableHome, match=r"Can't write to .*catalog\.sqlite \(it is read-only\)"):
                write()


def test_a_catalog_can_be_written_again_once_the_home_can(home):
    catalog = Home(home).catalog
    with by_another_owner(home):
        assert catalog.failures("walls") == [BROKEN]
    catalog.forget_files("walls", [BROKEN.uri])
    assert catalog.failures("walls") == []


def test_a_home_without_a_catalog_has_no_runs():
    with open_folder() as folder, by_another_owner(folder):
        assert Home(folder).catalog.runs("walls") == []


def test_a_catalog_that_cannot_be_read_either_is_named(home):
    (home / "catalog.sqlite").write_bytes(b"no database" * 500)
    with by_another_owner(home), pytest.raises(CatalogError, match="not a database"):
        Home(home).catalog.runs("walls")


def test_a_table_that_an_older_panoptes_did_not_have_is_empty(home):
    with closing(sqlite3.connect(home / "catalog.sqlite")) as connection:
        connection.execute("DROP TABLE sources")
    with by_another_owner(home):
        assert Home(home).catalog.sources("walls") == {} and len(Home(home).catalog.runs("walls")) == 1


def test_another_file_that_the_setting_names_is_read_too(home):
    url = f"sqlite:///{home.parent}/other.sqlite"
    Home(home, url).catalog.record_files("walls", [BROKEN])
    with by_another_owner(home.parent):
        assert Home(home, url).catalog.failures("walls") == [BROKEN]
        with pytest.raises(UnusableHome, match=r"other\.sqlite"):
            Home(home, url).catalog.record_files("walls", [BROKEN])


@pytest.mark.parametrize("endings", [("-wal", "-shm"), ("-wal",)])
def test_what_a_killed_writer_left_in_the_journal_is_read(home, endings):
    with closing(sqlite3.connect(home / "catalog.sqlite")) as writer:
        writer.execute("UPDATE files SET sentence = 'It is new.'")
        writer.commit()
        kept = {ending: Path(f"{home}/catalog.sqlite{ending}").read_bytes() for ending in ("", *endings)}
    for ending in ("", "-wal", "-shm"):
        Path(f"{home}/catalog.sqlite{ending}").unlink(missing_ok=True)
    for ending, content in kept.items():
        Path(f"{home}/catalog.sqlite{ending}").write_bytes(content)
    before = listing(home)
    with by_another_owner(home):
        assert [one.sentence for one in Home(home).catalog.failures("walls")] == ["It is new."]
    assert listing(home) == before


def test_a_journal_that_cannot_be_copied_is_no_reason_for_a_trace(home, monkeypatch):
    def fail(*_, **__):
        raise OSError("no room")

    with closing(sqlite3.connect(home / "catalog.sqlite")) as writer:
        writer.execute("UPDATE files SET sentence = 'It is new.'")
        writer.commit()
        kept = Path(f"{home}/catalog.sqlite-wal").read_bytes()
    Path(f"{home}/catalog.sqlite-wal").write_bytes(kept)
    monkeypatch.setattr("storage.catalog.sqlite.tempfile.TemporaryDirectory", fail)
    with by_another_owner(home), pytest.raises(CatalogError, match="can't be used"):
        Home(home).catalog.failures("walls")


def test_what_a_killed_writer_left_half_done_is_undone(home):
    file = home / "catalog.sqlite"
    with closing(sqlite3.connect(file, isolation_level=None)) as writer:
        writer.execute("PRAGMA journal_mode = DELETE")
        writer.execute("PRAGMA cache_size = 1")
        writer.execute("BEGIN IMMEDIATE")
        writer.executemany(
            "INSERT INTO files SELECT collection_id, ?, source, outcome, 0, 0, '', reason, sentence, 0 FROM files LIMIT 1",
            [(f"/photos/{number}.jpg",) for number in range(2000)],
        )
        kept = {path.name: path.read_bytes() for path in home.glob("catalog.sqlite*")}
        writer.execute("ROLLBACK")
    assert set(kept) == {"catalog.sqlite", "catalog.sqlite-journal"}
    for name, content in kept.items():
        (home / name).write_bytes(content)
    before = listing(home)
    with by_another_owner(home):
        assert Home(home).catalog.failures("walls") == [BROKEN]
    assert listing(home) == before
