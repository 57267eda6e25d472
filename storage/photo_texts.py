"""The words in photos, as text recognition read them, kept by the content of the photo.

A version's manifest names a folder `ocr/<name>`, whose file has a row for each photo that was read. A photo that was moved,
indexed again or encoded by other weights keeps its text, and no segment changes. What is read and not yet published waits in
`ocr/pending`, a file for each batch, so that an interrupted command goes on where it stopped.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from storage.arrow_compute import pc
from storage.errors import BrokenTexts
from storage.files import TEMPORARY, make_folder, move_into_place, remove
from storage.waiting_files import add_waiting, remove_waiting, waiting_files

FOLDER, PENDING, FILE = "ocr", "pending", "texts.parquet"
ORIGIN = "ocr"
CHECKSUM = "texts.sha256"
DIGITS = 5
_LINE = pa.struct(
    [
        pa.field("text", pa.string(), nullable=False),
        pa.field("language", pa.string(), nullable=False),
        pa.field("confidence", pa.float32(), nullable=False),
        pa.field("box", pa.list_(pa.float32(), 8), nullable=False),
    ]
)
SCHEMA = pa.schema([pa.field("sha256", pa.string(), nullable=False), pa.field("lines", pa.list_(_LINE), nullable=False)])


@dataclass(frozen=True)
class TextLine:
    """A line of text in a photo.

    Attributes:
        text: What it says.
        language: A code such as "en" or "zh".
        confidence: How sure the recognition is, from 0 to 1.
        box: x and y of the four corners, clockwise from where the text begins, as parts of the upright photo's width and
            height: (0, 0) is the upper left corner of the photo, (1, 1) the lower right one.
    """

    text: str
    language: str
    confidence: float
    box: tuple[float, ...]


@dataclass(frozen=True)
class PhotoText:
    """All lines of one photo; none if it was read and has no text. `sha256` is the content of its file, in hex digits."""

    sha256: str
    lines: list[TextLine]


class PhotoTexts:
    """The texts of one version. Nothing here changes after it is made, so any thread may call."""

    def __init__(self, table: pa.Table | None = None):
        """Hold the rows of a file; none without a table."""
        self._table = SCHEMA.empty_table() if table is None else table
        keys = _keys(self._table["sha256"].to_pylist())
        order = np.argsort(keys, kind="stable")
        self._keys, self._rows = keys[order], order

    @classmethod
    def open(cls, collection: Path, name: str) -> PhotoTexts:
        """Open the texts of a version.

        Args:
            collection: The collection's folder.
            name: What the manifest names; "" if no photo was read.

        Raises:
            BrokenTexts: The file is missing or damaged.
        """
        return cls(_read(collection / FOLDER / name / FILE)) if name else cls()

    def __len__(self) -> int:
        """The number of contents that were read."""
        return self._table.num_rows

    @property
    def table(self) -> pa.Table:
        """The rows, in the order of the file."""
        return self._table

    def rows_of(self, contents: Sequence[str]) -> np.ndarray:
        """The row of each content (SHA-256 in hex digits), int64 [n]; -1 for one that was not read."""
        wanted = _keys(contents)
        places = np.searchsorted(self._keys, wanted)
        rows = np.full(len(wanted), -1, np.int64)
        inside = places < len(self._keys)
        inside[inside] &= self._keys[places[inside]] == wanted[inside]
        rows[inside] = self._rows[places[inside]]
        return rows

    def of(self, sha256: str) -> PhotoText | None:
        """The text of a photo by its content; None if it was not read."""
        (row,) = self.rows_of([sha256]).tolist()
        return None if row < 0 else _texts(self._table.slice(row, 1))[0]

    def documents(self, contents: Sequence[str]) -> tuple[np.ndarray, list[str]]:
        """The photos that have text, and all text of each as one string.

        Args:
            contents: The SHA-256 of n photos, in hex digits.

        Returns:
            The positions in `contents`, int64 [m]; and m strings.
        """
        rows = self.rows_of(contents)
        lines = self._table["lines"].combine_chunks()
        known = np.flatnonzero(rows >= 0)
        known = known[pc.list_value_length(lines).to_numpy(zero_copy_only=False)[rows[known]] > 0] if len(known) else known
        texts = [" ".join(line["text"] for line in own) for own in lines.take(pa.array(rows[known])).to_pylist()]
        return known, texts

    def lines_of(self, contents: Sequence[str]) -> tuple[np.ndarray, pa.Array]:
        """All lines of text in some photos.

        Args:
            contents: The SHA-256 of n photos, in hex digits.

        Returns:
            The position in `contents` of each line, int64 [m], ascending; and what the lines say, an Arrow array [m] of text.
        """
        rows = self.rows_of(contents) if len(self) else np.full(len(contents), -1, np.int64)
        known = np.flatnonzero(rows >= 0)
        lines = self._table["lines"].combine_chunks().take(pa.array(rows[known]))
        counts = pc.list_value_length(lines).to_numpy(zero_copy_only=False).astype(np.int64)
        return np.repeat(known, counts), lines.flatten().field("text")


def add_pending(collection: Path, texts: Iterable[PhotoText]) -> None:
    """Keep what was read until it is published. It is durable when this returns."""
    add_waiting(collection / FOLDER / PENDING, _table(texts))


def pending_files(collection: Path) -> list[Path]:
    """The files of what was read and is not published."""
    return waiting_files(collection / FOLDER / PENDING)


def remove_pending(collection: Path, files: Iterable[Path]) -> None:
    """Remove files whose texts are published."""
    remove_waiting(collection / FOLDER / PENDING, files)


def pending_texts(files: Iterable[Path]) -> PhotoTexts:
    """What these files hold; one that is damaged counts as empty, so that its photos are read again."""
    tables = []
    for path in files:
        try:
            tables.append(_read(path, checked=False))
        except BrokenTexts:
            remove(path)
    return PhotoTexts(_first_of_each(pa.concat_tables([SCHEMA.empty_table(), *tables])))


def write_texts(collection: Path, name: str, newer: PhotoTexts, older: PhotoTexts, living: Sequence[str]) -> str:
    """Write the texts of a version, durably.

    Args:
        collection: The collection's folder.
        name: The name of the folder to make below `ocr`.
        newer: What was read since; it wins.
        older: The texts of the version before.
        living: The contents of the collection's photos; the texts of others are left out.

    Returns:
        The name.
    """
    table = _first_of_each(pa.concat_tables([newer.table, older.table]))
    table = table.filter(pc.is_in(table["sha256"], value_set=pa.array(sorted(set(living)), pa.string())))
    final = collection / FOLDER / name
    temporary = final.with_name(TEMPORARY + name)
    remove(temporary)
    remove(final)
    make_folder(temporary)
    pq.write_table(table, temporary / FILE, compression="zstd")
    (temporary / CHECKSUM).write_text(hashlib.sha256((temporary / FILE).read_bytes()).hexdigest() + "\n", encoding="ascii")
    move_into_place(temporary, final)
    return name


def _read(path: Path, checked: bool = True) -> pa.Table:
    """Read a file of texts, and compare it with its checksum.

    Raises:
        BrokenTexts: It is missing or damaged.
    """
    try:
        content = path.read_bytes()
        if checked and hashlib.sha256(content).hexdigest() != path.with_name(CHECKSUM).read_text(encoding="ascii").strip():
            raise BrokenTexts(path, "is not what was written")
        return pq.read_table(pa.BufferReader(content), schema=SCHEMA)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise BrokenTexts(path, " ".join(str(error).split())) from error


def _first_of_each(table: pa.Table) -> pa.Table:
    """The rows of a table, of each content the first."""
    _, first = np.unique(table["sha256"].to_numpy(zero_copy_only=False).astype(str), return_index=True)
    return table.take(pa.array(np.sort(first)))


def _table(texts: Iterable[PhotoText]) -> pa.Table:
    rows = [{"sha256": one.sha256, "lines": [{**asdict(line), "box": list(line.box)} for line in one.lines]} for one in texts]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def _texts(table: pa.Table) -> list[PhotoText]:
    return [PhotoText(row["sha256"], [_line(line) for line in row["lines"]]) for row in table.to_pylist()]


def _line(row: dict[str, Any]) -> TextLine:
    """A line without the digits that 32 bits add."""
    box = tuple(round(value, DIGITS) for value in row["box"])
    return TextLine(row["text"], row["language"], round(row["confidence"], DIGITS), box)


def _keys(contents: Sequence[str]) -> np.ndarray:
    """64 bits of each hash, uint64 [n]: that two contents of a collection have the same is not to be expected."""
    hashes = np.frombuffer(b"".join(map(bytes.fromhex, contents)), ">u8").reshape(len(contents), 4)
    return np.bitwise_xor.reduce(hashes, axis=1).astype(np.uint64)
