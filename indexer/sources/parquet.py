"""A Parquet manifest: a column `image`, captions, and any other columns as metadata."""

from __future__ import annotations

import datetime
import decimal
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from indexer.errors import EmptySource, UnknownFormat
from indexer.items import captions_from, one_line
from indexer.sources.base import Source
from indexer.sources.records import ORIGIN, RecordListing, item_from

ROWS_AT_ONCE = 4096


class ParquetSource(Source):
    """The photos that Parquet files list, one a row.

    Paths in `image` are relative to the file's folder. Captions are in `captions` (a struct or map from language to
    sentences, or a list of sentences) or in `caption` (one a row, its language in `language` or detected by script).
    Binary columns are left out.
    """

    format = "manifest"

    def __init__(self, root: Path, paths: list[Path] | None = None):
        """Read and check all rows. Bad rows are problems.

        Args:
            root: the file or folder that was opened.
            paths: the parts of the manifest; None means `root` alone.

        Raises:
            UnknownFormat: a file isn't Parquet, or has no column `image`.
            EmptySource: there is no row.
            BadManifestLine: no row can be used.
        """
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


def _rows(path: Path) -> Iterator[dict[str, Any]]:
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


def _record(row: dict[str, Any]) -> dict[str, Any]:
    """A row as a record of a JSON Lines manifest, without its null columns.

    Raises:
        ValueError: the row can't be used.
    """
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
    return {**{str(key): _json(value) for key, value in record.items()}, "captions": captions}


def _by_script(texts: list[Any]) -> dict[str, list[str]]:
    if not all(isinstance(text, str) for text in texts):
        raise ValueError('"captions" must hold sentences')
    by_language: dict[str, list[str]] = {}
    for caption in captions_from(texts, ORIGIN):
        by_language.setdefault(caption.language, []).append(caption.text)
    return by_language


def _json(value: object) -> object:
    """A value of a row as a JSON value.

    Raises:
        ValueError: JSON has no such value.
    """
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
