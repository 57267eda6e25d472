"""Tests of photos inside Parquet files: they are read where they are, one or all of them."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from storage.parquet_photos import Cell, read_cell
from storage.photo_uri import PhotoUri


def contents(count):
    return [None if number % 7 == 3 else os.urandom(number % 50) + bytes([number % 256]) for number in range(count)]


def write(path, cells, struct=True, rows=40):
    column = [None if cell is None else {"bytes": cell, "path": "x"} for cell in cells] if struct else cells
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())]) if struct else pa.binary()
    pq.write_table(pa.table({"image": pa.array(column, kind), "n": range(len(cells))}), path, row_group_size=rows)
    return path


@pytest.mark.parametrize("struct", [True, False])
@pytest.mark.parametrize("step", [1, -1, 37])
def test_every_photo_is_read_in_any_order(tmp_path, struct, step):
    cells = contents(100)
    path = write(tmp_path / "a.parquet", cells, struct)
    for number in range(0, 100 * abs(step), abs(step)):
        at = number % 100 if step > 0 else 99 - number % 100
        photo = PhotoUri(path, Cell(at // 40, at % 40, "image").member)
        if cells[at] is None:
            with pytest.raises(FileNotFoundError):
                read_cell(path, Cell(at // 40, at % 40, "image"))
            continue
        with photo.open() as file:
            assert file.read() == cells[at]
        assert photo.exists() and photo.state() == (None, path.stat().st_mtime_ns)


def test_threads_read_their_own_photos(tmp_path):
    cells = [bytes([number]) * 9 for number in range(80)]
    path = write(tmp_path / "a.parquet", cells)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda at: read_cell(path, Cell(at // 40, at % 40, "image")), [*range(80), *range(79, -1, -1)]))
    assert found == [*cells, *reversed(cells)]


def test_a_file_that_changed_is_read_anew(tmp_path):
    path = write(tmp_path / "a.parquet", [b"one", b"two"])
    assert read_cell(path, Cell(0, 0, "image")) == b"one"
    write(path, [b"other", b"two"])
    os.utime(path, ns=(1, 1))
    assert read_cell(path, Cell(0, 0, "image")) == b"other"


@pytest.mark.parametrize("member", ["9/0/image", "0/9/image", "0/0/nothing", "0/0", "x", "", "-1/0/image", "0/0/n"])
def test_a_photo_that_is_not_there(tmp_path, member):
    photo = PhotoUri(write(tmp_path / "a.parquet", [b"one"]), member)
    if member != "0/0/n":
        assert not photo.exists()
    with pytest.raises(OSError), photo.open() as file:
        assert isinstance(file.read(), bytes)
    assert not PhotoUri(tmp_path / "gone.parquet", "0/0/image").exists()


def test_a_damaged_file_is_an_error_of_the_system(tmp_path):
    path = write(tmp_path / "a.parquet", [os.urandom(2000) for _ in range(20)])
    data = bytearray(path.read_bytes())
    data[4:200] = bytes([255]) * 196
    path.write_bytes(data)
    with pytest.raises(OSError):
        read_cell(path, Cell(0, 10, "image"))
    path.write_bytes(b"PAR1")
    photo = PhotoUri(path, "0/0/image")
    assert photo.exists()
    with pytest.raises(OSError), photo.open():
        pass


def test_a_uri_as_text(tmp_path):
    photo = PhotoUri(tmp_path / "a!.parquet", "3/12/my image")
    assert photo.uri == f"parquet://{tmp_path}/a%21.parquet!3/12/my image"
    assert PhotoUri.at(photo.uri) == photo
