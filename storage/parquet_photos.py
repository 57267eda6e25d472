"""Photos inside Parquet files, read where they are."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import pyarrow.parquet as pq

ENDING = ".parquet"
ROWS_AT_ONCE = 16
KEPT_READERS = 4
BYTES = "bytes"


class Cell(NamedTuple):
    """The place of a photo in a Parquet file: a row of a row group, both from 0, and a column of bytes.

    The column may be a struct with a field `bytes`, as Hugging Face writes images.
    """

    row_group: int
    row: int
    column: str

    @property
    def member(self) -> str:
        """The cell as text."""
        return f"{self.row_group}/{self.row}/{self.column}"

    @classmethod
    def at(cls, member: str) -> Cell:
        """Parse what `member` made.

        Raises:
            FileNotFoundError: It is no such text.
        """
        group, _, rest = member.partition("/")
        row, _, column = rest.partition("/")
        if not (group.isdecimal() and row.isdecimal() and column):
            raise FileNotFoundError(2, "no such row", member)
        return cls(int(group), int(row), column)


def cell_exists(path: Path, cell: Cell) -> bool:
    """True if the file has this row and column. Raises what `read_cell` raises."""
    rows, columns = _shape(path)
    return cell.row_group < len(rows) and cell.row < rows[cell.row_group] and cell.column in columns


def read_cell(path: str | Path, cell: Cell) -> bytes:
    """Read a photo's bytes.

    The rows before it in its row group are read over, unless the last photo read of that group stood before it.

    Raises:
        OSError: The photo isn't there or can't be read.
    """
    path = Path(path)
    if not cell_exists(path, cell):
        raise FileNotFoundError(2, "no such row", str(path))
    status = os.stat(path)
    key = str(path), status.st_size, status.st_mtime_ns, cell.row_group, cell.column
    with _lock:
        reader = _readers.pop(key, None)
        if reader is None or cell.row < reader.first:
            reader = _RowGroupReader(path, cell.row_group, cell.column)
        try:
            content = reader.read(cell.row)
        except _arrow_errors() as error:
            raise OSError(5, "damaged Parquet file", str(path)) from error
        _readers[key] = reader
        while len(_readers) > KEPT_READERS:
            _readers.popitem(last=False)
    if not isinstance(content, bytes):
        raise FileNotFoundError(2, "no photo in this row", str(path))
    return content


class _RowGroupReader:
    """Reads the cells of a column of a row group, one after the other, a few rows at a time."""

    def __init__(self, path: Path, row_group: int, column: str):
        import pyarrow.parquet as pq

        self._file = pq.ParquetFile(path, memory_map=True, pre_buffer=False)
        self._batches: Iterator[Any] = self._file.iter_batches(ROWS_AT_ONCE, [row_group], [leaf(self._file, column)])
        self.first, self._cells = 0, None

    def read(self, row: int) -> bytes | None:
        """The bytes in a row that is not before `first`."""
        while self._cells is None or row >= self.first + len(self._cells):
            if self._cells is not None:
                self.first += len(self._cells)
            cells = next(self._batches).column(0)
            self._cells = cells.field(BYTES) if hasattr(cells, "field") else cells
        return self._cells[row - self.first].as_py()


def leaf(file: pq.ParquetFile, column: str) -> str:
    """The name under which Parquet keeps a column's bytes."""
    import pyarrow as pa

    return f"{column}.{BYTES}" if pa.types.is_struct(file.schema_arrow.field(column).type) else column


def _shape(path: Path) -> tuple[list[int], frozenset[str]]:
    status = os.stat(path)
    return _shape_of(path, status.st_size, status.st_mtime_ns)


@lru_cache(64)
def _shape_of(path: Path, size: int, mtime_ns: int) -> tuple[list[int], frozenset[str]]:
    """The number of rows of each row group, and the names of the columns."""
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            groups = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
            return groups, frozenset(file.schema_arrow.names)
    except _arrow_errors() as error:
        raise OSError(5, "damaged Parquet file", str(path)) from error


def _arrow_errors() -> tuple[type[Exception], ...]:
    import pyarrow as pa

    return pa.ArrowException, OSError, ValueError, IndexError, StopIteration


_readers: OrderedDict[tuple[str, int, int, int, str], _RowGroupReader] = OrderedDict()
_lock = Lock()
