"""Parquet: a manifest with a column of paths, or photos inside the file, which are read where they are."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from indexer.errors import EmptySource, UnknownFormat
from indexer.items import Failure, SourceItem, one_line, printable
from indexer.sources.base import Source
from indexer.sources.records import CLEAR_IMAGE_KEYS, IMAGE_KEYS, RecordListing, item_from, read_record
from storage.parquet_photos import BYTES, Cell, leaf
from storage.photo_uri import PhotoUri

ROWS_AT_ONCE = 4096
ROWS_LOOKED_AT = 20
ROWS_TRIED = 16
BYTES_KEYS = (*IMAGE_KEYS, "picture", "jpg", "jpeg", "png", "webp", "image_bytes", "img_bytes", "image_data", "bytes")
"""The names that a column of photos may have; a struct with a field `bytes` may have any."""
FILE_NAME = "file_name"
PART_OF_SPLIT = re.compile(r"([A-Za-z]+)-\d{5}-of-\d{5}")
"""How Hugging Face names the parts of a split, such as train-00000-of-00012.parquet."""


class ParquetSource(Source):
    """The photos that Parquet files list or hold, one a row.

    Photos are in a column of bytes, or of structs with `bytes` and `path`, as Hugging Face writes them; otherwise `image` (or
    one of its other names) is a path relative to the file's folder. The other columns are those of a manifest's record; binary
    ones are left out.
    """

    format = "manifest"

    def __init__(self, root: Path, paths: list[Path] | None = None):
        """Read and check all rows. Bad rows are problems, and so is a file that can't be read if another one can.

        Args:
            root: the file or folder that was opened.
            paths: the parts of the manifest; None means `root` alone.

        Raises:
            UnknownFormat: a file isn't Parquet, or has no column of photos.
            EmptySource: there is no row.
            BadManifestLine: no row can be used.
        """
        listing, unreadable = RecordListing("row"), list[UnknownFormat]()
        hidden_prefixes = list[str]()
        for path in paths or [root]:
            try:
                _read(path, listing)
            except UnknownFormat as error:
                unreadable.append(error)
                hidden_prefixes.append(PhotoUri(path, "").uri)
        items = listing.items()
        if not items and unreadable:
            raise unreadable[0]
        if not items:
            raise EmptySource(root, "rows with an `image` column")
        problems = listing.problems
        hidden_prefixes = [""] if problems or unreadable else hidden_prefixes
        problems += [Failure(printable(one.path), "shard_unreadable", one_line(f"{one}.")) for one in unreadable]
        super().__init__(root, items, problems, hidden_prefixes, files=paths or [root])


def names_photos(path: Path, folder: Path | None = None) -> bool:
    """True if a file is Parquet and holds photos or has a column of their paths; with `folder`, if it names some there."""
    try:
        with pq.ParquetFile(path) as file:
            column = _path_column(file.schema_arrow)
            if folder is None:
                return column is not None or _photo_column(file.schema_arrow) is not None
            if column not in CLEAR_IMAGE_KEYS or _photo_column(file.schema_arrow) is not None:
                return False
            batch = next(file.iter_batches(ROWS_LOOKED_AT, columns=[column]), None)
            names = [] if batch is None else batch.column(0).to_pylist()
            return any(isinstance(name, str) and os.path.exists(folder / name) for name in names)
    except (OSError, pa.ArrowException, ValueError):
        return False


def lacks_photos(path: Path) -> bool:
    """True if a file is Parquet and has no column of photos or of their paths: it is of something else."""
    try:
        schema = pq.read_schema(path)
    except (OSError, pa.ArrowException, ValueError):
        return False
    return _photo_column(schema) is None and _path_column(schema) is None


def parquet_rows(path: Path) -> Iterator[dict[str, Any] | ValueError]:
    """The rows of a file without what is binary and what is null; in place of one that can't be used, why.

    Raises:
        UnknownFormat: it can't be read.
    """
    try:
        with pq.ParquetFile(path) as file:
            wanted = [name for field in file.schema_arrow for name in leaves(field)]
            for group in range(file.num_row_groups):
                for row in _rows(file, group, wanted):
                    yield row if isinstance(row, ValueError) else _filled(row)
    except (OSError, pa.ArrowException, ValueError) as error:
        raise UnknownFormat(path, f"it can't be read as Parquet ({one_line(str(error))})", "mend that file") from error


def _read(path: Path, listing: RecordListing) -> None:
    """Add the rows of a file.

    Raises:
        UnknownFormat: it can't be read as Parquet, or has no column of photos.
    """
    column = _photo_column_of(path)
    number = 0
    try:
        with pq.ParquetFile(path) as file:
            wanted = [name for field in file.schema_arrow for name in leaves(field)]
            for group in range(file.num_row_groups):
                held = None if column is None else _held(file, group, column)
                for row_number, row in enumerate(_rows(file, group, wanted)):
                    number += 1
                    has_photo = held is not None and row_number < len(held) and held[row_number]
                    cell = Cell(group, row_number, column) if column and has_photo else None
                    try:
                        if isinstance(row, ValueError):
                            raise row
                        listing.add(_item(path, _filled(row), cell))
                    except (ValueError, TypeError, RecursionError) as error:
                        listing.refuse(path, number, one_line(str(error)))
    except (OSError, pa.ArrowException, ValueError) as error:
        raise UnknownFormat(path, f"it can't be read as Parquet ({one_line(str(error))})", "mend that file") from error


def _photo_column_of(path: Path) -> str | None:
    """The column of a file that holds photos; None if it has one of paths.

    Raises:
        UnknownFormat: it has neither.
    """
    try:
        schema = pq.read_schema(path)
    except (OSError, pa.ArrowException, ValueError) as error:
        raise UnknownFormat(path, f"it can't be read as Parquet ({one_line(str(error))})", "mend that file") from error
    column = _photo_column(schema)
    if column is None and _path_column(schema) is None:
        found = ", ".join(map(one_line, schema.names))
        raise UnknownFormat(path, f"it has no column `image` (but {found})", "name the column of photos or paths so")
    return column


def _photo_column(schema: pa.Schema) -> str | None:
    structs = [field.name for field in schema if _is_image_struct(field.type)]
    plain = [field.name for field in schema if _is_binary(field.type) and field.name.lower() in BYTES_KEYS]
    if schema.get_field_index("image") >= 0 and not {"image"} & {*structs, *plain}:
        return None
    named = sorted(structs + plain, key=lambda name: BYTES_KEYS.index(name.lower()) if name.lower() in BYTES_KEYS else 99)
    return named[0] if named else None


def _path_column(schema: pa.Schema) -> str | None:
    return next((key for key in (*IMAGE_KEYS, "features") if key in schema.names), None)


def _is_image_struct(kind: pa.DataType) -> bool:
    return pa.types.is_struct(kind) and kind.get_field_index(BYTES) >= 0 and _is_binary(kind.field(BYTES).type)


def _is_binary(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)


def leaves(field: pa.Field) -> list[str]:
    """The names of a column's parts that aren't binary, so that photos are not read while rows are listed."""
    if not _holds_binary(field.type):
        return [field.name]
    return [f"{field.name}.{name}" for inner in _fields(field.type) for name in leaves(inner)]


def _holds_binary(kind: pa.DataType) -> bool:
    inner = [kind.field(number).type for number in range(kind.num_fields)]
    return _is_binary(kind) or any(map(_holds_binary, inner))


def _fields(kind: pa.DataType) -> list[pa.Field]:
    """The fields of a struct; a list of binary values has no part that could be read by itself."""
    return list(kind) if pa.types.is_struct(kind) else []


def _rows(file: pq.ParquetFile, group: int, wanted: list[str]) -> Iterator[dict[str, Any] | ValueError]:
    """The rows of a row group; in place of one that Python has no values for, why."""
    if not wanted:
        yield from ({} for _ in range(file.metadata.row_group(group).num_rows))
        return
    for batch in file.iter_batches(ROWS_AT_ONCE, [group], wanted):
        try:
            yield from batch.to_pylist(maps_as_pydicts="lossy")
        except (ValueError, OverflowError, pa.ArrowException):
            yield from (_row(batch.slice(number, 1)) for number in range(batch.num_rows))


def _row(batch: pa.RecordBatch) -> dict[str, Any] | ValueError:
    try:
        return batch.to_pylist(maps_as_pydicts="lossy")[0]
    except (ValueError, OverflowError, pa.ArrowException) as error:
        return ValueError(one_line(str(error)))


def _filled(row: dict[str, Any]) -> dict[str, Any]:
    """A row without its null columns."""
    return {key: value for key, value in row.items() if value is not None}


def _held(file: pq.ParquetFile, group: int, column: str) -> np.ndarray:
    """Which rows of a row group hold a photo, bool [n].

    If the first rows do, so do the others: to be sure, all photos would have to be read. One that is not there after all is
    told when it is to be read. (The file's statistics would know, but pyarrow ends the process where they are damaged.)
    """
    count = file.metadata.row_group(group).num_rows
    batches = file.iter_batches(ROWS_TRIED, [group], [leaf(file, column)])
    first = next((_valid(batch.column(0)) for batch in batches), np.empty(0, bool))
    if len(first) and first.all():
        return np.ones(count, bool)
    held = np.concatenate([first, *(_valid(batch.column(0)) for batch in batches)])
    if len(held) != count:
        raise ValueError(f"row group {group} has {len(held)} rows instead of {count}")
    return held


def _valid(cells: pa.Array) -> np.ndarray:
    if isinstance(cells, pa.StructArray):
        cells = cells.flatten()[0]  # unlike `field`, with the nulls of the struct
    return cells.is_valid().to_numpy(zero_copy_only=False)


def _item(path: Path, row: dict[str, Any], cell: Cell | None) -> SourceItem:
    """The photo of a row.

    Raises:
        ValueError: the row can't be used.
    """
    if cell is None:
        return item_from(path.parent, row)
    inside = row.pop(cell.column, None)
    captions, metadata = read_record(row)
    name = inside.get("path") if isinstance(inside, dict) else None
    if isinstance(name, str) and name.strip():
        metadata.setdefault(FILE_NAME, name)
    if split := PART_OF_SPLIT.match(path.name):
        metadata.setdefault("split", split[1])
    return SourceItem(path, captions, metadata, cell.member)
