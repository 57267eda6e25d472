"""Reads MindSpore's `.ckpt` container without MindSpore and without protobuf (OPT specification, section 3.5).

The file is a stream of `Value{1: tag, 2: Tensor{1: dims, 2: type, 3: bytes}}`, each as field 1 of an unnamed message. A
large tensor lies in several Values on end, with one tag and the whole tensor's dims; its bytes are those of all of them.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from encoder.errors import NotACheckpoint

DTYPES = {
    "Float16": "<f2",
    "Float32": "<f4",
    "Float64": "<f8",
    "BFloat16": "<u2",
    "Bool": "?",
    "Int8": "<i1",
    "Int16": "<i2",
    "Int32": "<i4",
    "Int64": "<i8",
    "UInt8": "<u1",
    "UInt16": "<u2",
    "UInt32": "<u4",
    "UInt64": "<u8",
}
FLOATS = ("Float16", "Float32", "Float64", "BFloat16")
CRC_MARK, CRC_LENGTH = b"crc_num", 17
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
MOST_DIMS, LONGEST_NAME = 16, 512


@dataclass
class StoredTensor:
    """The position of a tensor in the file.

    Attributes:
        dims: as the file has them.
        dtype: the file's name of its type, such as "Float16".
        parts: (start, end) of its bytes, in order.
    """

    dims: tuple[int, ...]
    dtype: str
    parts: list[tuple[int, int]] = field(default_factory=list)

    @property
    def nbytes(self) -> int:
        """The number of its bytes in the file."""
        return sum(end - start for start, end in self.parts)

    @property
    def shape(self) -> tuple[int, ...]:
        """The dims; () for a scalar, which old files write as [0]."""
        return () if self.dims == (0,) and self.nbytes else self.dims


class CheckpointFile:
    """The tensors of a `.ckpt` by name. Opening it reads only names and positions; use it in a `with`.

    Raises:
        NotACheckpoint: the file is absent, cut off, damaged or something else.
    """

    def __init__(self, path: Path):
        self.path = Path(path)
        try:
            with self.path.open("rb") as stream:
                self._map = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise NotACheckpoint(self.path, f"cannot be read ({error.strerror or error}); check the path") from error
        except ValueError as error:  # an empty file cannot be mapped
            raise NotACheckpoint(self.path, "is empty; fetch the file again") from error
        try:
            self.tensors = self._index()
        except NotACheckpoint:
            self._map.close()
            raise

    def __enter__(self) -> CheckpointFile:
        return self

    def __exit__(self, *error: object) -> None:
        self._map.close()

    def read(self, name: str) -> np.ndarray:
        """Read one tensor in its own dtype; BFloat16 (the same numbers) and Float64 become float32."""
        stored = self.tensors[name]
        raw = b"".join(self._map[start:end] for start, end in stored.parts)
        values = np.frombuffer(raw, DTYPES[stored.dtype]).reshape(stored.shape)
        if stored.dtype == "BFloat16":
            return (values.astype(np.uint32) << 16).view(np.float32)
        return values.astype(np.float32) if stored.dtype == "Float64" else values

    def _index(self) -> dict[str, StoredTensor]:
        tensors: dict[str, StoredTensor] = {}
        before = None
        for tag, dims, dtype, part in self._values():
            stored = tensors.setdefault(tag, StoredTensor(dims, dtype))
            if stored.parts and (tag != before or (stored.dims, stored.dtype) != (dims, dtype)):
                raise self._damaged(f"{tag} is there twice")
            stored.parts.append(part)
            before = tag
        for tag, stored in tensors.items():
            self._check_size(tag, stored)
        return tensors

    def _values(self) -> Iterator[tuple[str, tuple[int, ...], str, tuple[int, int]]]:
        end = len(self._map)
        if self._map[max(0, end - CRC_LENGTH) :].startswith(CRC_MARK):
            end -= CRC_LENGTH
        try:
            for number, start, stop in self._fields(0, end):
                if number == 1:
                    yield self._value(start, stop)
        except _Malformed as error:
            raise self._damaged(str(error)) from error

    def _value(self, start: int, end: int) -> tuple[str, tuple[int, ...], str, tuple[int, int]]:
        tag, tensor = None, None
        for number, first, last in self._fields(start, end):
            if number == 1:
                tag = self._name(first, last)
            elif number == 2:
                tensor = (first, last)
        if tag is None or tensor is None:
            raise _Malformed("a value without a name or a tensor")
        return tag, *self._tensor(*tensor)

    def _tensor(self, start: int, end: int) -> tuple[tuple[int, ...], str, tuple[int, int]]:
        dims: list[int] = []
        dtype, part = None, (end, end)
        for number, first, last in self._fields(start, end):
            if number == 1:
                dims += self._dims(first, last)
            elif number == 2:
                dtype = self._name(first, last)
            elif number == 3:
                part = (first, last)
        if dtype is None or len(dims) > MOST_DIMS:
            raise _Malformed("a tensor without a type" if dtype is None else f"a tensor of {len(dims)} dimensions")
        return tuple(dims), dtype, part

    def _dims(self, first: int, last: int) -> list[int]:
        """The numbers in a field of dims: one, or several packed ones; negative ones come as 64 bits."""
        out = []
        while first < last and len(out) <= MOST_DIMS:
            value, first = self._varint(first, last)
            out.append(value)
        return out

    def _fields(self, at: int, end: int) -> Iterator[tuple[int, int, int]]:
        """The number of each field between `at` and `end`, and the start and end of its content."""
        while at < end:
            key, at = self._varint(at, end)
            number, wire = key >> 3, key & 7
            start = at
            if wire == VARINT:
                _, at = self._varint(at, end)
            elif wire == BYTES:
                length, start = self._varint(at, end)
                at = start + length
            elif wire in (FIXED64, FIXED32):
                at += 8 if wire == FIXED64 else 4
            else:
                raise _Malformed(f"no field begins at byte {start}")
            if at > end or number == 0:
                raise _Malformed(f"it is cut off at byte {end}" if number else f"no field begins at byte {start}")
            yield number, start, at

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        value = 0
        for shift in range(0, 70, 7):
            if at >= end:
                raise _Malformed(f"it is cut off at byte {end}")
            byte = self._map[at]
            at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value, at
        raise _Malformed(f"no number ends at byte {at}")

    def _name(self, start: int, end: int) -> str:
        raw = self._map[start : min(end, start + LONGEST_NAME + 1)]
        try:
            name = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise _Malformed(f"no name at byte {start}") from error
        if len(raw) > LONGEST_NAME or not name.isprintable():
            raise _Malformed(f"no name at byte {start}")
        return name

    def _check_size(self, tag: str, stored: StoredTensor) -> None:
        if stored.dtype not in DTYPES:
            return  # text that was saved beside the weights; no weight has such a type
        needed = math.prod(stored.shape) * np.dtype(DTYPES[stored.dtype]).itemsize
        if needed != stored.nbytes:
            raise self._damaged(f"{tag} has {stored.nbytes} bytes where {stored.dtype} {list(stored.shape)} has {needed}")

    def _damaged(self, problem: str) -> NotACheckpoint:
        for magic, kind in ((b"PK", "a PyTorch or zip file"), (b"\x80", "a Python pickle"), (b"\x89HDF", "an HDF5 file")):
            if self._map[:4].startswith(magic):
                return NotACheckpoint(self.path, f"is {kind}, not a MindSpore .ckpt")
        return NotACheckpoint(self.path, f"is not a whole MindSpore .ckpt ({problem}); fetch the file again")


class _Malformed(Exception):
    """The bytes are not as the format wants them."""
