"""The table that img2dataset writes beside each tar: what it knows of the samples, by their keys."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from indexer.errors import UnknownFormat
from indexer.items import one_line
from indexer.sources.parquet import leaves
from indexer.text_index import TextIndex

KEY = "key"
KEYS_AT_ONCE = 4096


class SampleTable:
    """Rows of 00000.parquet, found by the key of a sample in 00000.tar. They are kept in Arrow's memory."""

    def __init__(self, path: Path):
        """Read the table, without what is binary.

        Raises:
            UnknownFormat: it can't be read, or has no column `key`.
        """
        try:
            with pq.ParquetFile(path) as file:
                if KEY not in file.schema_arrow.names:
                    raise UnknownFormat(path, "it has no column `key`", "remove or rename that file")
                self._table: pa.Table = file.read([name for field in file.schema_arrow for name in leaves(field)])
        except (OSError, pa.ArrowException, ValueError) as error:
            raise UnknownFormat(path, f"it can't be read as Parquet ({one_line(str(error))})", "mend that file") from error
        self._keys = TextIndex()
        for batch in self._table.column(KEY).chunks:
            for start in range(0, len(batch), KEYS_AT_ONCE):
                self._keys.add([str(key) for key in batch.slice(start, KEYS_AT_ONCE).to_pylist()])

    def row_of(self, member: str) -> dict[str, Any]:
        """What the table says of a file of the tar, without null; {} if it doesn't know it."""
        base = os.path.basename(member)
        for key in (os.path.splitext(base)[0], base.partition(".")[0]):
            position = self._keys.find_last(key) if self._table.num_rows else None
            if position is not None:
                (row,) = self._table.slice(position, 1).to_pylist(maps_as_pydicts="lossy")
                return {name: value for name, value in row.items() if value is not None}
        return {}
