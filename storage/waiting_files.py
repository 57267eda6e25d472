"""What a long command has made and not published yet: a folder of Parquet files, one a batch, each durable when it is there.

An interrupted command loses no more than one batch, and the next one goes on. Nothing of it is locked: the collection may be
changed meanwhile.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from storage.files import TEMPORARY, make_folder, remove, sync_file, sync_folder

ABANDONED_S = 3600
"""A batch is written in far less time: what has been a part for so long will never be whole."""


def add_waiting(folder: Path, table: pa.Table, name: str = "") -> None:
    """Keep a batch. It is durable when this returns. `name` begins its file's name, by which the files are ordered."""
    make_folder(folder)
    temporary, final = (folder / f"{before}{name}{uuid.uuid4().hex}.parquet" for before in (TEMPORARY, ""))
    pq.write_table(table, temporary, compression="zstd")
    sync_file(temporary)
    temporary.rename(final)
    sync_folder(folder)


def remove_waiting(folder: Path, files: Iterable[Path]) -> None:
    """Remove files that are published, and what a command that was killed had begun to write."""
    for path in files:
        remove(path)
    for path in folder.glob(f"{TEMPORARY}*"):
        with suppress(FileNotFoundError):  # its writer has just given it its name
            if time.time() - path.stat().st_mtime > ABANDONED_S:
                remove(path)


def waiting_files(folder: Path) -> list[Path]:
    """The files of a folder, in the order of their names."""
    return sorted(path for path in folder.glob("*.parquet") if not path.name.startswith(TEMPORARY))
