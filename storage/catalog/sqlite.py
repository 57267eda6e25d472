"""How the catalog's SQLite file is opened: for writing where that can be, and as it is where nothing can be written."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, event

BUSY_MS = 10_000
JOURNALS = ("-wal", "-journal")
"""Endings of the files in which SQLite keeps what is not in the main file yet."""
REFUSED = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM)


class ReadOnlyConnection(sqlite3.Connection):
    """A connection to a file that can't be written, or to a copy of it."""

    copied: tempfile.TemporaryDirectory | None = None

    def close(self) -> None:
        """Close the connection, and remove the copy if there is one."""
        super().close()
        if self.copied is not None:
            self.copied.cleanup()


def open_with(engine: Engine) -> None:
    """Let an engine of SQLAlchemy open its SQLite file as this module does."""
    event.listen(engine, "do_connect", lambda _dialect, _record, where, options: _connect(*where, **options))
    event.listen(engine, "begin", _begin)


def refuses_writing(error: BaseException | None) -> bool:
    """True if SQLite refused because the file can't be written."""
    return isinstance(error, sqlite3.OperationalError) and _code(error) == sqlite3.SQLITE_READONLY


def _connect(file: str, **options: Any) -> sqlite3.Connection:
    """Open a file as a writer would, or if the system refuses that, as a reader."""
    connection = sqlite3.connect(file, **options)
    try:
        _set_up(connection)
        return connection
    except sqlite3.OperationalError as error:
        connection.close()
        if _code(error) not in REFUSED or options.get("uri"):
            raise
    return _connect_to_read(Path(file), options)


def _connect_to_read(file: Path, options: dict[str, Any]) -> sqlite3.Connection:
    """Open a file that can't be written.

    Without a journal the file is all there is, and nobody on this machine writes to it. With one, whoever wrote last was
    killed, or writes at this moment from elsewhere: SQLite reads both files if it finds its index of the journal (`-shm`), and
    otherwise a copy, where it may restore what the journal holds.
    """
    if not any(_has_content(Path(f"{file}{ending}")) for ending in JOURNALS):
        return _checked(f"file:{quote(str(file))}?mode=ro&immutable=1", options)
    try:
        return _checked(f"file:{quote(str(file))}?mode=ro", options)
    except sqlite3.OperationalError as error:
        if _code(error) not in REFUSED:
            raise
        try:
            return _connect_to_copy(file, options)
        except OSError as problem:  # no room for a copy
            raise error from problem


def _connect_to_copy(file: Path, options: dict[str, Any]) -> sqlite3.Connection:
    folder = tempfile.TemporaryDirectory(prefix="panoptes-catalog-")
    try:
        for path in (file, *(Path(f"{file}{ending}") for ending in JOURNALS)):
            if path.exists():
                shutil.copyfile(path, Path(folder.name) / path.name)
        copy = Path(folder.name) / file.name
        sqlite3.connect(copy).execute("PRAGMA schema_version").connection.close()  # restores
        connection = _checked(f"file:{quote(str(copy))}?mode=ro", options)
    except BaseException:
        folder.cleanup()
        raise
    connection.copied = folder
    return connection


def _checked(uri: str, options: dict[str, Any]) -> ReadOnlyConnection:
    """A connection for reading that has read something."""
    connection = sqlite3.connect(uri, **{**options, "uri": True, "factory": ReadOnlyConnection})
    assert isinstance(connection, ReadOnlyConnection)  # by the factory
    try:
        connection.isolation_level = None
        connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
        connection.execute("PRAGMA schema_version").fetchall()
    except BaseException:
        connection.close()
        raise
    return connection


def _has_content(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


def _code(error: sqlite3.OperationalError) -> int:
    return error.sqlite_errorcode & 0xFF


def _set_up(connection: sqlite3.Connection) -> None:
    """Set up a connection so that readers and the writer don't wait for each other, and a second writer waits."""
    connection.isolation_level = None  # transactions begin below, not in the driver
    connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
    _switch_to_wal(connection)
    connection.execute("PRAGMA synchronous = NORMAL")


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    """Switch a new file to write-ahead logging; a file that has it stays as it is.

    This is tried again and again: SQLite refuses at once if another connection writes, and doesn't wait for it.
    """
    deadline = time.monotonic() + BUSY_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if _code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(0.01)


def _begin(connection: Connection) -> None:
    """Take the write lock at the start: a writer that first reads could not go on once another has written."""
    writing = connection.get_execution_options().get("writing")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")
