"""Files of records: JSON Lines, a JSON list, Karpathy's JSON, Parquet, CSV and other tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from indexer.errors import BadAnnotations, UnknownColumns, UnknownFormat
from indexer.items import one_line, read_json
from indexer.sources.text_files import decoded_text
from indexer.sources.text_tables import form_of, table_rows

MOST_JSON_BYTES = 2**31
KARPATHY_DROPPED = frozenset({"sentids", "imgid", "sentences", "filename", "filepath", "cocoid", "file_path"})


@dataclass(frozen=True)
class Columns:
    """The columns of a table that hold photos' names and captions; None finds them by their names."""

    image: str | None = None
    caption: str | None = None


@dataclass(frozen=True)
class RecordFile:
    """A file of records.

    Attributes:
        kind: what messages call a record: "line", "row" or "record".
        records: the number of each record in its file, and the record or a ValueError that says why it is none; read while
            they are iterated.
        is_sure: False for a table without a header, which may as well be something else.
    """

    kind: str
    records: Iterable[tuple[int, Any]]
    is_sure: bool = True


BY_NAME = Columns()


def open_records(path: Path, columns: Columns = BY_NAME) -> RecordFile:
    """Open a file of records.

    Raises:
        BadAnnotations: it can't be read, or is in no such form.
        UnknownColumns: it is a table, and it can't be told which of its columns are meant.
    """
    ending = path.suffix.lower()
    try:
        if ending == ".parquet":
            return RecordFile("row", _parquet_records(path))
        if ending == ".jsonl":
            return RecordFile("line", json_lines(path))
        if ending == ".json":
            return records_in(path, read_json_file(path))
        form = form_of(path, columns.image, columns.caption)
    except OSError as error:
        raise BadAnnotations(path, f"can't be read ({error.strerror})") from error
    if form is None:
        raise UnknownColumns(path, columns.image, columns.caption)
    return RecordFile("row", table_rows(path, form), form.is_sure)


def json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    """The lines of a file that aren't blank.

    Raises:
        OSError: the file can't be read.
    """
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            line = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
            if line.strip():
                yield number, _value(line)


def read_json_file(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        BadAnnotations: it can't be read, or is no JSON.
    """
    try:
        if path.stat().st_size > MOST_JSON_BYTES:
            raise BadAnnotations(path, "too large to be read as one JSON")
        return read_json(decoded_text(path.read_bytes()))
    except OSError as error:
        raise BadAnnotations(path, f"can't be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise BadAnnotations(path, f"not JSON ({one_line(str(error))})") from error


def records_in(path: Path, content: object) -> RecordFile:
    """The records of a JSON file's content.

    Raises:
        BadAnnotations: it has no list of records.
    """
    if isinstance(content, dict) and is_karpathy(content):
        content = [karpathy_record(image) for image in content["images"]]
    elif isinstance(content, dict):
        content = content.get("data")
    if not isinstance(content, list):
        raise BadAnnotations(path, 'not captions (no list of records, and no object with "annotations")')
    return RecordFile("record", enumerate(content, 1))


def is_karpathy(content: object) -> bool:
    """True for the content of Karpathy's `dataset_coco.json` and the like: images, each with its sentences."""
    if not isinstance(content, dict) or "annotations" in content:
        return False
    images = content.get("images")
    return isinstance(images, list) and any(isinstance(one, dict) and "sentences" in one for one in images[:10])


def karpathy_record(image: object) -> Any:
    """An image of Karpathy's JSON as a record with `image`, `captions`, `split` and `coco_id`."""
    if not isinstance(image, dict):
        return ValueError("not a JSON object")
    name, folder = image.get("filename"), image.get("filepath")
    if not isinstance(name, str):
        return ValueError('"filename" must be a file\'s name')
    rest = {key: value for key, value in image.items() if key not in KARPATHY_DROPPED}
    if "cocoid" in image:
        rest["coco_id"] = image["cocoid"]
    path = f"{folder}/{name}" if isinstance(folder, str) and folder.strip("/") else name
    return {**rest, "image": path, "captions": image.get("sentences")}


def _parquet_records(path: Path) -> Iterator[tuple[int, Any]]:
    from indexer.sources.parquet import parquet_rows  # pyarrow takes a while to import

    try:
        yield from enumerate(parquet_rows(path), 1)
    except UnknownFormat as error:
        raise BadAnnotations(path, error.problem) from error


def _value(line: bytes) -> Any:
    try:
        return read_json(line.decode("utf-8"))
    except UnicodeDecodeError:
        return ValueError("not UTF-8")
    except (ValueError, RecursionError) as error:
        return ValueError(f"not JSON ({one_line(str(error))})")
