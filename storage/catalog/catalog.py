"""The catalog: what changes while the program works, in a database."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from sqlalchemy import URL, Connection, Engine, Row, create_engine, delete, event, func, insert, make_url, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from storage.catalog.tables import collections, files, metadata, runs, sources, versions
from storage.errors import CatalogError, UnknownRun

STARTING, RUNNING, DONE, FAILED, INTERRUPTED = "starting", "running", "done", "failed", "interrupted"
INDEXED = "indexed"
SEGMENT_DAMAGED = "segment_damaged"
OLD_REASONS = {"segment-damaged": SEGMENT_DAMAGED}
"""Reasons as catalogs may still have them, and what they are called now."""
BUSY_MS = 10_000
ROWS_A_STATEMENT = 400
ROWS_AT_ONCE = 8192


@dataclass(frozen=True)
class FileRecord:
    """What became of a file of a source. `mtime_ns` and `size` are as of when it was read; `outcome` is "indexed" or
    "failed", with a reason code and a sentence when it failed."""

    uri: str
    source: str
    outcome: str
    size: int | None = None
    mtime_ns: int | None = None
    sha256: str | None = None
    reason: str | None = None
    sentence: str | None = None
    image_id: int | None = None


@dataclass(frozen=True)
class RunRecord:
    """One index run. `state` is "starting" (announced, and nothing listed yet), "running", "done", "failed" or "interrupted";
    times are ISO 8601 in UTC."""

    run_id: int
    source: str
    state: str
    started_at: str
    finished_at: str | None = None
    total: int = 0
    done: int = 0
    added: int = 0
    unchanged: int = 0
    failed: int = 0
    images_per_second: float = 0.0
    version: int | None = None


@dataclass(frozen=True)
class VersionRecord:
    """One published version, with how much it holds."""

    version: int
    fingerprint: str
    images: int
    captions: int
    published_at: str


class Catalog:
    """All calls may come from any thread; each is one transaction. Raises CatalogError when the database refuses."""

    def __init__(self, home: Path, url: str | URL | None = None):
        self._home = str(home)
        self._file = None if url else home / "catalog.sqlite"
        self._url = url or file_url(self._file)
        self._opened: Engine | None = None

    def announce_run(self, collection: str, source: str) -> int:
        """Note that a run is about to begin; its id, for `start_run`."""
        with self._writing() as connection:
            return self._new_run(connection, self._owner(connection, collection), source, STARTING, 0)

    def start_run(
        self, collection: str, source: str, total: int, told: dict | None = None, announced: int | None = None
    ) -> int:
        """Note that a run began; its id, which is that of the `announced` one if there is one. `told` is what the source was
        opened with, for `sources`. Runs that still seem to be running were killed, and are marked so: call this as the
        collection's only writer."""
        with self._writing() as connection:
            owner = self._owner(connection, collection)
            mine, ours = runs.c.run_id == (announced or 0), runs.c.collection_id == owner
            killed = update(runs).where(ours, runs.c.state.in_((STARTING, RUNNING)), ~mine)
            connection.execute(killed.values(state=INTERRUPTED))
            if told is not None:
                same = (sources.c.collection_id == owner) & (sources.c.source == source)
                connection.execute(delete(sources).where(same))
                connection.execute(insert(sources).values(collection_id=owner, source=source, told=json.dumps(told)))
            begins = update(runs).where(ours, mine).values(state=RUNNING, started_at=_now(), total=total)
            if announced and connection.execute(begins).rowcount:
                return announced
            return self._new_run(connection, owner, source, RUNNING, total)

    def sources(self, collection: str) -> dict[str, dict]:
        """What `build-index` was run on, by absolute path in alphabetical order, with what `start_run` was told of it last."""
        rows = self._select(sources, collection, order=sources.c.source)
        return {row.source: json.loads(row.told) for row in rows}

    def update_run(self, run_id: int, **columns: object) -> None:
        """Set columns of RunRecord, such as `done`."""
        with self._writing() as connection:
            connection.execute(update(runs).where(runs.c.run_id == run_id).values(columns))

    def finish_run(self, run_id: int, state: str, **columns: object) -> None:
        """Note how a run ended."""
        self.update_run(run_id, state=state, finished_at=_now(), **columns)

    def runs(self, collection: str, limit: int = 20) -> list[RunRecord]:
        """The latest runs, newest first."""
        rows = self._select(runs, collection, order=runs.c.run_id.desc(), limit=limit)
        return [_record(RunRecord, row) for row in rows]

    def run(self, collection: str, run_id: int) -> RunRecord:
        """One run by its id. Raises UnknownRun."""
        rows = self._select(runs, collection, runs.c.run_id == run_id, order=runs.c.run_id)
        if not rows:
            raise UnknownRun(collection, run_id)
        return _record(RunRecord, rows[0])

    def record_version(self, collection: str, record: VersionRecord) -> None:
        """Note a publication; noting it twice is fine."""
        with self._writing() as connection:
            owner = self._owner(connection, collection)
            same = (versions.c.collection_id == owner) & (versions.c.version == record.version)
            connection.execute(delete(versions).where(same))
            connection.execute(insert(versions).values(collection_id=owner, **asdict(record)))

    def versions(self, collection: str) -> list[VersionRecord]:
        """The published versions that were noted, newest first."""
        rows = self._select(versions, collection, order=versions.c.version.desc())
        return [_record(VersionRecord, row) for row in rows]

    def record_files(self, collection: str, records: Sequence[FileRecord]) -> None:
        """Note what became of files, in place of what was noted of them before."""
        latest = {record.uri: record for record in records}
        with self._writing() as connection:
            owner = self._owner(connection, collection)
            for start in range(0, len(latest), ROWS_A_STATEMENT):
                part = list(latest.values())[start : start + ROWS_A_STATEMENT]
                same = (files.c.collection_id == owner) & files.c.uri.in_([record.uri for record in part])
                connection.execute(delete(files).where(same))
                connection.execute(insert(files), [{"collection_id": owner, **asdict(record)} for record in part])

    def forget_failures(self, collection: str, source: str, still_failing: set[str]) -> None:
        """Drop a source's failures other than these uris: of files that are no longer in the source."""
        gone = [r.uri for r in self.failures(collection) if r.source == source and r.uri not in still_failing]
        self.forget_files(collection, gone)

    def files(self, collection: str) -> dict[str, FileRecord]:
        """All that is known of the collection's files, by uri."""
        return {row.uri: _file_record(row) for row in self._select(files, collection, order=files.c.uri)}

    def files_of(self, collection: str, uris: Sequence[str]) -> dict[str, FileRecord]:
        """What is known of these files, by uri; those of which nothing is known are left out."""
        found = {}
        for start in range(0, len(uris), ROWS_A_STATEMENT):
            asked = files.c.uri.in_(uris[start : start + ROWS_A_STATEMENT])
            found |= {row.uri: _file_record(row) for row in self._select(files, collection, asked, order=files.c.uri)}
        return found

    def strangers(self, collection: str, living: np.ndarray, below: int | None = None) -> list[str]:
        """Files that are noted as indexed under ids (`below` one: of these alone) which are not among the `living`, int64 [n]
        upwards."""
        wanted, found = [files.c.outcome == INDEXED], []
        if below is not None:
            wanted.append(func.coalesce(files.c.image_id, 0) < below)
        for rows in self._parts(files, collection, *wanted, order=files.c.uri, columns=("uri", "image_id")):
            ids = np.fromiter((row.image_id or 0 for row in rows), np.int64, len(rows))
            found += [rows[place].uri for place in np.flatnonzero(~np.isin(ids, living))]
        return found

    def forget_files(self, collection: str, uris: Sequence[str]) -> None:
        """Drop all that is known of these files."""
        with self._writing() as connection:
            owner = self._owner(connection, collection)
            for start in range(0, len(uris), ROWS_A_STATEMENT):
                part = list(uris[start : start + ROWS_A_STATEMENT])
                connection.execute(delete(files).where(files.c.collection_id == owner, files.c.uri.in_(part)))

    def failures(self, collection: str) -> list[FileRecord]:
        """The files that failed when they were last tried, by uri."""
        rows = self._select(files, collection, files.c.outcome == FAILED, order=files.c.uri)
        return [_file_record(row) for row in rows]

    def _select(self, table, collection: str, *conditions, **wanted) -> list[Row]:
        """As `_parts`, all at once."""
        return [row for part in self._parts(table, collection, *conditions, **wanted) for row in part]

    def _parts(
        self, table, collection: str, *conditions, order, limit: int | None = None, columns=()
    ) -> Iterator[Sequence[Row]]:
        """The collection's rows of a table, some thousand at a time."""
        if self._file is not None and not self._file.exists():
            return
        wanted = [table.c[name] for name in columns] or [table]
        joined = select(*wanted).select_from(table).join(collections, collections.c.collection_id == table.c.collection_id)
        mine = joined.where(collections.c.home == self._home, collections.c.name == collection, *conditions)
        with self._transaction() as connection:
            parts = connection.execution_options(yield_per=ROWS_AT_ONCE).execute(mine.order_by(order).limit(limit))
            yield from parts.partitions()

    def _new_run(self, connection: Connection, owner: int, source: str, state: str, total: int) -> int:
        row = {"collection_id": owner, "source": source, "state": state, "started_at": _now(), "total": total}
        return connection.execute(insert(runs).values(row)).inserted_primary_key[0]

    def _owner(self, connection: Connection, collection: str) -> int:
        """The collection's number, given when it is first written to."""
        mine = (collections.c.home == self._home) & (collections.c.name == collection)
        number = connection.scalar(select(collections.c.collection_id).where(mine))
        if number is not None:
            return number
        row = {"home": self._home, "name": collection, "created_at": _now()}
        return connection.execute(insert(collections).values(row)).inserted_primary_key[0]

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        if self._file is not None:
            self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._transaction(writing=True) as connection:
            yield connection

    @contextmanager
    def _transaction(self, writing: bool = False) -> Iterator[Connection]:
        try:
            with self._engine().execution_options(writing=writing).begin() as connection:
                yield connection
        except (SQLAlchemyError, ImportError) as error:
            raise CatalogError(_without_password(self._url), _first_line(error)) from error

    def _engine(self) -> Engine:
        if self._opened is None:
            engine = create_engine(self._url, poolclass=NullPool if str(self._url).startswith("sqlite") else None)
            if engine.dialect.name == "sqlite":
                event.listen(engine, "connect", _configure_sqlite)
                event.listen(engine, "begin", _begin_sqlite)
            metadata.create_all(engine.execution_options(writing=True))
            self._opened = engine
        return self._opened


def file_url(path: Path) -> URL:
    """The URL of a SQLite file, whatever characters its path has: `?` and `#` mean something in a URL's text."""
    return URL.create("sqlite", database=str(path))


def _configure_sqlite(connection, _record) -> None:
    """Readers and the writer don't wait for each other, and two writers wait instead of failing."""
    connection.isolation_level = None  # transactions begin below, not in the driver
    connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
    _switch_to_wal(connection)
    connection.execute("PRAGMA synchronous = NORMAL")


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    """Changes something in a new file only, where SQLite doesn't wait for another who writes, but refuses at once."""
    deadline = time.monotonic() + BUSY_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() > deadline:
                raise
        time.sleep(0.01)


def _begin_sqlite(connection: Connection) -> None:
    """Writers take their turn at the start: one that first reads could not go on once another has written."""
    writing = connection.get_execution_options().get("writing")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")


def _file_record(row: Row) -> FileRecord:
    record = _record(FileRecord, row)
    return replace(record, reason=OLD_REASONS[record.reason]) if record.reason in OLD_REASONS else record


def _record(kind: type, row: Row):
    return kind(**{name: getattr(row, name) for name in kind.__dataclass_fields__})


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _first_line(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error).splitlines()[0]


def _without_password(url: str | URL) -> str:
    try:
        return make_url(url).render_as_string(hide_password=True)
    except SQLAlchemyError:
        return "that PANOPTES_CATALOG names"
