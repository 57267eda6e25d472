"""Tables of captions as text: CSV and TSV with a header, Flickr30k's `results.csv`, and Flickr8k's `name#0<TAB>caption`."""

from __future__ import annotations

import codecs
import csv
import io
import os
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from indexer.errors import BadAnnotations
from indexer.items import one_line
from indexer.sources.listing import PHOTOS
from indexer.sources.records import IMAGE_KEYS, LANGUAGE_KEYS, is_caption_key
from indexer.sources.text_files import encoding_of

DELIMITERS = "\t|;,"
HEAD_BYTES = 65_536
HEAD_ROWS = 50
MOST_LINES_OF_A_ROW = 100
NUMBERED = re.compile(r"(.+)#\d+")
UNSURE_COLUMN = "id"
IMAGE_COLUMNS = (*IMAGE_KEYS, "image_id", "name", UNSURE_COLUMN)
CAPTION_COLUMNS = "comment", "description", "title"
"""What a column of captions is also called in tables; elsewhere these are metadata."""
IMAGE, CAPTION = "image", "caption"


@dataclass(frozen=True)
class TableForm:
    """How a table is written.

    Attributes:
        delimiter: what stands between two columns.
        columns: their names, as keys of a record; "" for one that is not read.
        has_header: whether the first row holds them.
        quoted: whether a value may stand in quotes, with delimiters and line ends in it.
        encoding: of the file.
        is_sure: False if its photos may be none: there is no header, or it names them by an `id`, which may be that of a row.
    """

    delimiter: str
    columns: list[str]
    has_header: bool
    quoted: bool
    encoding: str
    is_sure: bool = True


def form_of(path: Path, image_column: str | None = None, caption_column: str | None = None) -> TableForm | None:
    """Tell how a table of captions is written; None if the file is none.

    Args:
        path: the file.
        image_column: the column of the photos' names; None finds it by its name.
        caption_column: the column of captions; None finds it by its name.

    Raises:
        OSError: the file can't be read.
        BadAnnotations: it is no text.
    """
    with open(path, "rb") as file:
        head = file.read(HEAD_BYTES)
    try:
        encoding = encoding_of(head)
        text = codecs.getincrementaldecoder(encoding)().decode(head)
    except UnicodeDecodeError as error:
        raise BadAnnotations(path, "it is no UTF-8 text; save it as UTF-8") from error
    if "\0" in text:
        return None
    lines = [line for line in text.splitlines() if line.strip()][:HEAD_ROWS]
    if not lines:
        return None
    for delimiter in sorted(DELIMITERS, key=lambda one: -lines[0].count(one)):
        if delimiter in lines[0]:
            header = _split(lines[0], delimiter)
            columns = _named(header, image_column, caption_column)
            if columns is not None:
                is_sure = image_column is not None or _key_of(header[columns.index(IMAGE)]) != UNSURE_COLUMN
                return TableForm(delimiter, columns, True, delimiter in ",;", encoding, is_sure)
    return _without_header(lines, encoding) if image_column is None and caption_column is None else None


def table_rows(path: Path, form: TableForm) -> Iterator[tuple[int, dict[str, Any] | ValueError]]:
    """The rows of a table: the number of the line in which each begins, and the row as a record or why it is none.

    Raises:
        OSError: the file can't be read.
        BadAnnotations: it can't be decoded.
    """
    try:
        with open(path, encoding=form.encoding, newline=None) as file:
            lines = enumerate(file, 1)
            if form.has_header:
                next((line for _, line in lines if line.strip()), None)
            for number, line in _whole_rows(lines, form) if form.quoted else lines:
                if line.strip():
                    yield number, _record(line, form)
    except UnicodeDecodeError as error:
        raise BadAnnotations(path, f"it is no {form.encoding.upper()} text") from error


def _split(line: str, delimiter: str) -> list[str]:
    row = next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])
    return [value.strip() for value in row]


def _key_of(column: str) -> str:
    return column.lower().replace(" ", "_")


def _named(header: list[str], image_column: str | None, caption_column: str | None) -> list[str] | None:
    """The keys of a header's columns; None if there is none of photos or none of captions."""
    lowered = [_key_of(name) for name in header]
    image = _position(header, lowered, image_column, IMAGE_COLUMNS)
    if image is None:
        return None
    columns = [name if number != image else IMAGE for number, name in enumerate(lowered)]
    if caption_column is not None or not any(is_caption_key(name) for name in columns):
        caption = _position(header, lowered, caption_column, CAPTION_COLUMNS)
        if caption is None or caption == image:
            return None
        columns = [name if name == IMAGE or not is_caption_key(name) else "" for name in columns]
        columns[caption] = CAPTION
    columns = [name if name != IMAGE or number == image else "" for number, name in enumerate(columns)]
    return [
        name if name in ("", IMAGE, *LANGUAGE_KEYS) or is_caption_key(name) else own
        for name, own in zip(columns, header, strict=True)
    ]


def _position(header: list[str], lowered: list[str], wanted: str | None, usual: tuple[str, ...]) -> int | None:
    if wanted is not None:
        return header.index(wanted) if wanted in header else None
    return next((lowered.index(name) for name in usual if name in lowered), None)


def _without_header(lines: list[str], encoding: str) -> TableForm | None:
    """The form of a table that begins with a photo's name in the first column, and has captions in the last."""
    for delimiter in DELIMITERS:
        rows = [_split(line, delimiter) for line in lines[:-1] or lines]
        if any(len(row) < 2 or not _is_photo(row[0]) for row in rows):
            continue
        said = [row[-1] for row in rows]
        if sum(any(c.isalpha() for c in one) and (" " in one or not one.isascii()) for one in said) * 2 >= len(said):
            is_sure = all(NUMBERED.fullmatch(row[0]) for row in rows)
            return TableForm(delimiter, [IMAGE, CAPTION], False, delimiter in ",;", encoding, is_sure)
    return None


def _is_photo(name: str) -> bool:
    match = NUMBERED.fullmatch(name)
    return os.path.splitext(match[1] if match else name)[1].lower() in PHOTOS


def _whole_rows(lines: Iterator[tuple[int, str]], form: TableForm) -> Iterator[tuple[int, str]]:
    """Join the lines of rows that have line ends in quotes.

    A quote that is never closed would take all that follows: such a row is its first line, and the others are read by
    themselves. A line that begins with a photo's name is never a part of another row.
    """
    position, waiting = form.columns.index(IMAGE), deque[tuple[int, str]]()
    while (first := _next(waiting, lines)) is not None:
        taken = [first]
        while _is_open("".join(line for _, line in taken), form.delimiter):
            following = _next(waiting, lines)
            if following is not None:
                taken.append(following)
            if following is None or len(taken) > MOST_LINES_OF_A_ROW or _begins_row(following[1], form, position):
                waiting.extendleft(reversed(taken[1:]))
                taken = taken[:1]
                break
        yield taken[0][0], "".join(line for _, line in taken)


def _next(waiting: deque[tuple[int, str]], lines: Iterator[tuple[int, str]]) -> tuple[int, str] | None:
    return waiting.popleft() if waiting else next(lines, None)


def _begins_row(line: str, form: TableForm, position: int) -> bool:
    row = _split(line, form.delimiter)
    return len(row) >= max(2, len(form.columns) - 1) and position < len(row) and _is_photo(row[position])


def _is_open(row: str, delimiter: str) -> bool:
    if '"' not in row:
        return False
    try:
        list(csv.reader(io.StringIO(row), delimiter=delimiter, skipinitialspace=True, strict=True))
    except csv.Error as error:
        return "unexpected end" in str(error)
    return False


def _record(line: str, form: TableForm) -> dict[str, Any] | ValueError:
    values = _values(line, form)
    if isinstance(values, ValueError):
        return values
    if len(values) < len(form.columns) and not form.has_header:
        return ValueError("it has too few columns")
    if not form.has_header:
        values = [values[0], values[-1]]
    record = {name: value for name, value in zip(form.columns, values, strict=False) if name and value}
    if not record.get(IMAGE):
        return ValueError("it names no photo")
    numbered = NUMBERED.fullmatch(record[IMAGE])
    if numbered and _is_photo(numbered[1]):  # Flickr's name#0, name#1 for the captions of a photo
        record[IMAGE] = numbered[1]
    return record


def _values(line: str, form: TableForm) -> list[str] | ValueError:
    if not form.quoted:
        parts = line.rstrip("\r\n").split(form.delimiter, max(len(form.columns) - 1, 1))
        return [_unquoted(part.strip()) for part in parts]
    if _is_open(line, form.delimiter):
        return ValueError("a quote in it is never closed")
    try:
        rows = list(csv.reader(io.StringIO(line), delimiter=form.delimiter, skipinitialspace=True))
    except csv.Error as error:
        return ValueError(one_line(str(error)))
    row = rows[0] if rows else []
    if form.has_header and any(row[len(form.columns) :]):
        if not is_caption_key(form.columns[-1]):
            return ValueError("it has too many columns")
        last = len(form.columns) - 1  # a caption with commas that nobody quoted
        row = next(csv.reader([line.rstrip("\r\n")], delimiter=form.delimiter))
        row = [*row[:last], form.delimiter.join(row[last:])]
    return [value.strip() for value in row]


def _unquoted(value: str) -> str:
    if len(value) > 1 and value[0] == value[-1] == '"':
        return value[1:-1].replace('""', '"')
    return value
