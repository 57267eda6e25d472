"""The catalog: a database of what changes while the program works."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from sqlalchemy import (
    URL,
    ColumnElement,
    Connection,
    Engine,
    Insert,
    Row,
    Table,
    create_engine,
    delete,
    func,
    insert,
    inspect,
    make_url,
    select,
    update,
)
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from storage.catalog.sqlite import open_with, refuses_writing
from storage.catalog.tables import collections, files, metadata, runs, sources, versions
from storage.errors import CatalogError, UnknownRun, UnusableHome

STARTING, RUNNING, DONE, FAILED, INTERRUPTED = "starting", "running", "done", "failed", "interrupted"
INDEXED = "indexed"
SEGMENT_DAMAGED = "segment_damaged"
OLD_REASONS = {"segment-damaged": SEGMENT_DAMAGED}
"""Reason codes that old catalogs may hold, and what they are called now."""
ROWS_A_STATEMENT = 400
ROWS_AT_ONCE = 8192


@dataclass(frozen=True)
class FileRecord:
    """The result of indexing one file of a source.

    Attributes:
        uri: Where the photo is; see `storage.photo_uri`.
        source: The absolute path of the source.
        outcome: "indexed" or "failed".
        size: Bytes, when the file was read.
        mtime_ns: The file's time of change, when it was read.
        sha256: The SHA-256 of the file, in hex digits.
        reason: A reason code, if it failed.
        sentence: The reason for people, if it failed.
        image_id: The image's id, if it is indexed.
    """

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
    """One index run.

    Attributes:
        run_id: The id.
        source: The absolute path of the source.
        state: "starting" (announced, and nothing listed yet), "running", "done", "failed" or "interrupted".
        started_at: ISO 8601, in UTC.
        finished_at: ISO 8601, in UTC; None while the run lasts.
        total: The number of files to look at.
        done: How many were looked at so far.
        added: How many became images.
        unchanged: How many were in the collection before.
        failed: How many could not be read or encoded.
        images_per_second: The speed of the run.
        version: The version that the run published.
    """

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
    """One published version, and the number of its images and captions."""

    version: int
    fingerprint: str
    images: int
    captions: int
    published_at: str


_Record = TypeVar("_Record", FileRecord, RunRecord, VersionRecord)


class Catalog:
    """Files, runs and versions of all collections of a home. Thread safe; each call is one transaction.

    Every method raises CatalogError if the database refuses. Where the file can't be written, what only reads works all the
    same, and what writes raises UnusableHome.
    """

    def __init__(self, home: Path, url: str | URL | None = None):
        """Name the database; it is opened when it is first used.

        Args:
            home: The home; one database may serve several.
            url: A SQLAlchemy URL; None: a SQLite file in the home.
        """
        self._home = str(home)
        file = home / "catalog.sqlite"
        self._file = None if url else file
        self._url = url or file_url(file)
        self._opened: Engine | None = None

    def announce_run(self, collection: str, source: str) -> int:
        """Record that a run is about to begin, and return its id for `start_run`."""
        with self._writing() as connection:
            return self._new_run(connection, self._owner(connection, collection), source, STARTING, 0)

    def start_run(
        self, collection: str, source: str, total: int, source_options: dict | None = None, announced: int | None = None
    ) -> int:
        """Record that a run began. Call this as the collection's only writer.

        Runs that still seem to be running were killed; they are marked as interrupted.

        Args:
            collection: The collection's name.
            source: The absolute path of the source.
            total: The number of files to look at.
            source_options: How the source was opened, as JSON values, for `sources`; None records nothing.
            announced: The id that `announce_run` gave.

        Returns:
            The id of the run: the announced one, if there is one.
        """
        with self._writing() as connection:
            owner = self._owner(connection, collection)
            announced_run, ours = runs.c.run_id == (announced or 0), runs.c.collection_id == owner
            killed = update(runs).where(ours, runs.c.state.in_((STARTING, RUNNING)), ~announced_run)
            connection.execute(killed.values(state=INTERRUPTED))
            if source_options is not None:
                same = (sources.c.collection_id == owner) & (sources.c.source == source)
                connection.execute(delete(sources).where(same))
                row = {"collection_id": owner, "source": source, "told": json.dumps(source_options)}
                connection.execute(insert(sources).values(row))
            begins = update(runs).where(ours, announced_run).values(state=RUNNING, started_at=_now(), total=total)
            if announced and connection.execute(begins).rowcount:
                return announced
            return self._new_run(connection, owner, source, RUNNING, total)

    def sources(self, collection: str) -> dict[str, dict]:
        """The sources that were indexed, by absolute path in alphabetical order, with the latest options of each."""
        rows = self._select(sources, collection, order=sources.c.source)
        return {row.source: json.loads(row.told) for row in rows}

    def forget_source(self, collection: str, source: str) -> None:
        """Drop the options of a source, and the records of its files."""
        with self._writing() as connection:
            owner = self._owner(connection, collection)
            for table in (sources, files):
                connection.execute(delete(table).where(table.c.collection_id == owner, table.c.source == source))

    def update_run(self, run_id: int, **columns: object) -> None:
        """Set fields of a run's RunRecord, such as `done`."""
        with self._writing() as connection:
            connection.execute(update(runs).where(runs.c.run_id == run_id).values(columns))

    def finish_run(self, run_id: int, state: str, **columns: object) -> None:
        """Record how a run ended: its state, and other fields of RunRecord."""
        self.update_run(run_id, state=state, finished_at=_now(), **columns)

    def runs(self, collection: str, limit: int = 20) -> list[RunRecord]:
        """The latest runs of a collection, newest first."""
        rows = self._select(runs, collection, order=runs.c.run_id.desc(), limit=limit)
        return [_record(RunRecord, row) for row in rows]

    def run(self, collection: str, run_id: int) -> RunRecord:
        """One run by its id.

        Raises:
            UnknownRun: The collection has no such run.
        """
        rows = self._select(runs, collection, runs.c.run_id == run_id, order=runs.c.run_id)
        if not rows:
            raise UnknownRun(collection, run_id)
        return _record(RunRecord, rows[0])

    def record_version(self, collection: str, record: VersionRecord) -> None:
        """Record a publication; recording it twice is fine."""
        with self._writing() as connection:
            owner = self._owner(connection, collection)
            same = (versions.c.collection_id == owner) & (versions.c.version == record.version)
            connection.execute(delete(versions).where(same))
            connection.execute(insert(versions).values(collection_id=owner, **asdict(record)))

    def versions(self, collection: str) -> list[VersionRecord]:
        """The recorded versions of a collection, newest first."""
        rows = self._select(versions, collection, order=versions.c.version.desc())
        return [_record(VersionRecord, row) for row in rows]

    def record_files(self, collection: str, records: Sequence[FileRecord]) -> None:
        """Record the results of files; they replace earlier results of the same files."""
        latest = {record.uri: record for record in records}
        with self._writing() as connection:
            owner = self._owner(connection, collection)
            for start in range(0, len(latest), ROWS_A_STATEMENT):
                part = list(latest.values())[start : start + ROWS_A_STATEMENT]
                same = (files.c.collection_id == owner) & files.c.uri.in_([record.uri for record in part])
                connection.execute(delete(files).where(same))
                connection.execute(insert(files), [{"collection_id": owner, **asdict(record)} for record in part])

    def forget_failures(self, collection: str, source: str, still_failing: set[str]) -> None:
        """Drop the failures of a source, except those of the uris in `still_failing`."""
        gone = [r.uri for r in self.failures(collection) if r.source == source and r.uri not in still_failing]
        self.forget_files(collection, gone)

    def files(self, collection: str) -> dict[str, FileRecord]:
        """The records of all files of a collection, by uri."""
        return {row.uri: _file_record(row) for row in self._select(files, collection, order=files.c.uri)}

    def files_of(self, collection: str, uris: Sequence[str]) -> dict[str, FileRecord]:
        """The records of some files, by uri. A file without a record is left out."""
        found = {}
        for start in range(0, len(uris), ROWS_A_STATEMENT):
            wanted = files.c.uri.in_(uris[start : start + ROWS_A_STATEMENT])
            found |= {row.uri: _file_record(row) for row in self._select(files, collection, wanted, order=files.c.uri)}
        return found

    def orphaned_files(self, collection: str, living: np.ndarray, below: int | None = None) -> list[str]:
        """The uris of files that are recorded as indexed under ids that the collection doesn't have.

        Args:
            collection: The collection's name.
            living: The ids that the collection has, int64 [n], sorted upwards.
            below: Look only at files with lower ids than this one.
        """
        wanted: list[ColumnElement[bool]] = [files.c.outcome == INDEXED]
        found = []
        if below is not None:
            wanted.append(func.coalesce(files.c.image_id, 0) < below)
        for rows in self._parts(files, collection, *wanted, order=files.c.uri, columns=("uri", "image_id")):
            ids = np.fromiter((row.image_id or 0 for row in rows), np.int64, len(rows))
            found += [rows[int(position)].uri for position in np.flatnonzero(~np.isin(ids, living))]
        return found

    def forget_files(self, collection: str, uris: Sequence[str]) -> None:
        """Drop the records of these files."""
        with self._writing() as connection:
            owner = self._owner(connection, collection)
            for start in range(0, len(uris), ROWS_A_STATEMENT):
                part = list(uris[start : start + ROWS_A_STATEMENT])
                connection.execute(delete(files).where(files.c.collection_id == owner, files.c.uri.in_(part)))

    def failures(self, collection: str) -> list[FileRecord]:
        """The records of files that failed when they were last tried, sorted by uri."""
        rows = self._select(files, collection, files.c.outcome == FAILED, order=files.c.uri)
        return [_file_record(row) for row in rows]

    def _select(self, table: Table, collection: str, *conditions: ColumnElement[bool], **wanted: Any) -> list[Row]:
        """The rows of `_parts`, all at once."""
        return [row for part in self._parts(table, collection, *conditions, **wanted) for row in part]

    def _parts(
        self,
        table: Table,
        collection: str,
        *conditions: ColumnElement[bool],
        order: ColumnElement[Any],
        limit: int | None = None,
        columns: Sequence[str] = (),
    ) -> Iterator[Sequence[Row]]:
        """A collection's rows of a table, or some columns of them, some thousand rows at a time."""
        if self._file is not None and not self._file.exists():
            return
        wanted = [table.c[name] for name in columns] or [table]
        joined = select(*wanted).select_from(table).join(collections, collections.c.collection_id == table.c.collection_id)
        mine = joined.where(collections.c.home == self._home, collections.c.name == collection, *conditions)
        with self._transaction() as connection:
            if self._opened is None and not inspect(connection).has_table(table.name):
                return  # a catalog of an older Panoptes that can't be written
            parts = connection.execution_options(yield_per=ROWS_AT_ONCE).execute(mine.order_by(order).limit(limit))
            yield from parts.partitions()

    def _new_run(self, connection: Connection, owner: int, source: str, state: str, total: int) -> int:
        row = {"collection_id": owner, "source": source, "state": state, "started_at": _now(), "total": total}
        return _inserted_id(connection, insert(runs).values(row))

    def _owner(self, connection: Connection, collection: str) -> int:
        """The collection's number in the database, given when it is first written to."""
        mine = (collections.c.home == self._home) & (collections.c.name == collection)
        number = connection.scalar(select(collections.c.collection_id).where(mine))
        if number is not None:
            return number
        row = {"home": self._home, "name": collection, "created_at": _now()}
        return _inserted_id(connection, insert(collections).values(row))

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
            if refuses_writing(getattr(error, "orig", None)):
                raise UnusableHome(Path(make_url(self._url).database or ""), "it is read-only") from error
            raise CatalogError(_without_password(self._url), _first_line(error)) from error

    def _engine(self) -> Engine:
        if self._opened is None:
            engine = create_engine(self._url, poolclass=NullPool if str(self._url).startswith("sqlite") else None)
            if engine.dialect.name == "sqlite":
                open_with(engine)
            try:
                metadata.create_all(engine.execution_options(writing=True))
            except OperationalError as error:
                if not refuses_writing(error.orig):
                    raise
                return engine  # what can't be written is read as it is
            self._opened = engine
        return self._opened


def file_url(path: Path) -> URL:
    """The URL of a SQLite file. Its path may hold `?` and `#`, which mean something else in a URL's text."""
    return URL.create("sqlite", database=str(path))


def _file_record(row: Row) -> FileRecord:
    record = _record(FileRecord, row)
    return replace(record, reason=OLD_REASONS[record.reason]) if record.reason in OLD_REASONS else record


def _record(kind: type[_Record], row: Row) -> _Record:
    return kind(**{field.name: getattr(row, field.name) for field in fields(kind)})


def _inserted_id(connection: Connection, statement: Insert) -> int:
    key = connection.execute(statement).inserted_primary_key
    assert key is not None  # one row was inserted
    return key[0]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _first_line(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error).splitlines()[0]


def _without_password(url: str | URL) -> str:
    try:
        return make_url(url).render_as_string(hide_password=True)
    except SQLAlchemyError:
        return "that PANOPTES_CATALOG names"
