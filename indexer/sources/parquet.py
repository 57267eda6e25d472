"""A Parquet manifest: a column `image`, captions, and any other columns as metadata."""

from __future__ import annotations

import datetime
import decimal
import math
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from indexer.errors import EmptySource, UnknownFormat
from indexer.items import captions_from, one_line
from indexer.sources.base import Source
from indexer.sources.records import ORIGIN, RecordListing, item_from

ROWS_AT_ONCE = 4096


class ParquetSource(Source):
    """Paths in `image` are relative to the file's folder. Captions are `captions`, a struct or map from language to
    sentences or a list of sentences, or `caption`, one a row, beside `language` or told by script. Binary columns are left
    out."""

    format = "manifest"

    def __init__(self, root: Path, paths: list[Path] | None = None):
        """Reads and checks `paths`, the parts of one manifest (by default `root` alone); bad rows are problems. Raises
        UnknownFormat, EmptySource, or BadManifestLine where no row is a good one."""
        listing = RecordListing("row")
        for path in paths or [root]:
            for number, row in enumerate(_rows(path), 1):
                try:
                    listing.add(item_from(path.parent, _record(row)))
                except (ValueError, TypeError) as error:
                    listing.refuse(path, number, one_line(str(error)))
        items = listing.items()
        if not items:
            raise EmptySource(root, "rows with an `image` column")
        super().__init__(root, items, listing.problems, [""] if listing.problems else [])


def _rows(path: Path) -> Iterator[dict]:
    try:
        with pq.ParquetFile(path) as file:
            if "image" not in file.schema_arrow.names:
                found = ", ".join(map(one_line, file.schema_arrow.names))
                raise UnknownFormat(path, f"it has no column `image` (but {found})", "name the column of paths so")
            wanted = [field.name for field in file.schema_arrow if field.name == "image" or not _is_binary(field.type)]
            for batch in file.iter_batches(ROWS_AT_ONCE, columns=wanted):
                yield from batch.to_pylist(maps_as_pydicts="lossy")
    except (OSError, pa.ArrowException, ValueError) as error:
        raise UnknownFormat(path, f"it can't be read as Parquet ({one_line(str(error))})", "mend that file") from error


def _is_binary(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)


def _record(row: dict) -> dict:
    """A row as a record of a JSON Lines manifest; columns that are empty in it are left out. Raises ValueError."""
    record = {key: value for key, value in row.items() if value is not None}
    if not isinstance(record.get("image"), str):
        raise ValueError('"image" must be the path of a photo (photos inside the Parquet file are not read)')
    captions = record.pop("captions", {})
    if isinstance(captions, list):
        captions = _by_script(captions)
    captions = {language: texts for language, texts in captions.items() if texts is not None}
    if "caption" in record:
        text, language = record.pop("caption"), record.pop("language", None)
        own = {language: [text]} if language else _by_script([text])
        captions = {key: captions.get(key, []) + own.get(key, []) for key in {**captions, **own}}
    return {**_json(record), "captions": captions}


def _by_script(texts: list) -> dict[str, list[str]]:
    if not all(isinstance(text, str) for text in texts):
        raise ValueError('"captions" must hold sentences')
    told: dict[str, list[str]] = {}
    for caption in captions_from(texts, ORIGIN):
        told.setdefault(caption.language, []).append(caption.text)
    return told


def _json(value: object) -> object:
    """A value of a row as JSON has it. Raises ValueError for what JSON doesn't have."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _json(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_json(one) for one in value]
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, decimal.Decimal):
        return float(value)
    raise ValueError(f"a {type(value).__name__} can't be kept as metadata")
