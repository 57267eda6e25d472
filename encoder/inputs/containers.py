"""Reads past what is not a photo's pixels: text, damaged chunks beside them, a missing end mark.

The decoder is given the file without these, so that nothing of them can make it refuse a photo, or take memory. Nothing is
copied: the file is read around them.
"""

from __future__ import annotations

import io
import struct
import zlib
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import BinaryIO

from encoder.inputs.container_parts import boxes, heif_items, jpeg_segments, png_chunks, read_at, webp_chunks

MAX_METADATA = 1 << 20
"""What a chunk beside the pixels may unfold to, in bytes: more than any EXIF has, and all but a few colour profiles."""
_PNG_KEPT = {b"tRNS", b"eXIf", b"iCCP"}
_PNG_TEXT = {b"tEXt", b"zTXt", b"iTXt"}
_PNG_ORIENTATION = (b"Raw profile type exif\0", b"XML:com.adobe.xmp\0")
_JPEG_KEPT = (
    (0xE0, b"JFIF\0", 14), (0xE1, b"Exif\0", 6), (0xE1, b"http://ns.adobe.com/xap/1.0/\0", 29), (0xE2, b"ICC_PROFILE\0", 15),
    (0xEE, b"Adobe", 12),
)  # fmt: skip
"""What the decoder needs of a JPEG's application segments: marker, how they begin, and how many bytes they have at least."""
_HEIF_PICTURES = {b"hvc1", b"av01", b"avc1", b"vvc1", b"jpeg", b"j2k1", b"unci", b"grid", b"iden", b"iovl", b"tmap", b"mski"}
APPLICATION, COMMENT = range(0xE0, 0xF0), 0xFE
_WEBP_BESIDE = {b"EXIF", b"XMP ", b"ICCP"}


@dataclass(frozen=True)
class Piece:
    """A part of a file: `size` bytes at `offset`, or `content` in place of them."""

    offset: int
    size: int
    content: bytes | None = None


class Pieces(io.RawIOBase):
    """Pieces of a file, read as one file."""

    def __init__(self, file: BinaryIO, pieces: list[Piece]) -> None:
        self._file, self._pieces, self._at = file, pieces, 0
        self._starts = list(accumulate((piece.size for piece in pieces), initial=0))

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to an offset, and return it."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._starts[-1]}[whence]
        self._at = max(0, start + offset)
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Read what fits into a buffer and lies in one piece."""
        number = bisect_right(self._starts, self._at) - 1
        if number == len(self._pieces):
            return 0
        piece, inside = self._pieces[number], self._at - self._starts[number]
        data = self._part(piece, inside, min(len(buffer), piece.size - inside))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def _part(self, piece: Piece, inside: int, size: int) -> bytes:
        if piece.content is not None:
            return piece.content[inside : inside + size]
        self._file.seek(piece.offset + inside)
        return self._file.read(size)


def pixels_of(file: BinaryIO, name: str) -> BinaryIO:
    """The file without what is not its pixels.

    Args:
        file: the file; it is the answer if there is nothing to leave out.
        name: its format, as `image_formats` calls it.
    """
    readers = {"PNG": _png, "JPEG": _jpeg, "WEBP": _webp, "HEIC": _heif, "AVIF": _heif}
    pieces = readers[name](file) if name in readers else None
    file.seek(0)
    return file if pieces is None else io.BufferedReader(Pieces(file, _joined(pieces)))


def _png(file: BinaryIO) -> list[Piece] | None:
    chunks = list(png_chunks(file))
    needed = [Piece(at, size + 12) for at, kind, size in chunks if _png_needs(file, at, size, kind)]
    return [Piece(0, 8), *needed] if len(needed) < len(chunks) else None


def _png_needs(file: BinaryIO, at: int, size: int, kind: bytes) -> bool:
    """Is a chunk one that the decoder needs, and can it be read without harm?"""
    if not kind[0] & 0x20:  # it is critical
        return True
    if kind not in _PNG_KEPT | _PNG_TEXT or size > MAX_METADATA:
        return False
    content = read_at(file, at + 8, size)
    if kind in _PNG_TEXT and not content.startswith(_PNG_ORIENTATION):
        return False
    whole = read_at(file, at + 8 + size, 4) == struct.pack(">I", zlib.crc32(kind + content))
    return whole and _unfolds_to_little(kind, content[content.find(b"\0") + 1 :])


def _unfolds_to_little(kind: bytes, rest: bytes) -> bool:
    """Does a chunk unfold to at most MAX_METADATA bytes? `rest` is what follows its keyword."""
    if kind == b"iTXt":
        return rest[:1] == b"\0"  # XMP is not compressed
    if kind not in (b"zTXt", b"iCCP"):
        return True
    unpacker = zlib.decompressobj()
    try:
        unpacker.decompress(rest[1:], MAX_METADATA)
    except zlib.error:
        return False
    return unpacker.eof


def _jpeg(file: BinaryIO) -> list[Piece] | None:
    pieces, rest = [Piece(0, 2)], 2
    for at, marker, size in jpeg_segments(file):
        if _jpeg_needs(file, at, marker, size):
            pieces.append(Piece(at, size))
        rest = at + size
    if sum(piece.size for piece in pieces) == rest:
        return None
    return [*pieces, Piece(rest, file.seek(0, io.SEEK_END) - rest)]


def _jpeg_needs(file: BinaryIO, at: int, marker: int, size: int) -> bool:
    if marker != COMMENT and marker not in APPLICATION:
        return True
    start = read_at(file, at + 4, 32)
    return any(marker == own and start.startswith(name) and size - 4 >= least for own, name, least in _JPEG_KEPT)


def _webp(file: BinaryIO) -> list[Piece] | None:
    """All chunks up to one that is cut short and is not pixels; the header then says how many bytes there are."""
    end, after, cut = file.seek(0, io.SEEK_END), 12, None
    for at, kind, size in webp_chunks(file):
        if at + 8 + size + size % 2 > end:
            cut = at, kind, size
            break
        after = at + 8 + size + size % 2
    pieces = [Piece(12, after - 12)]
    if cut is not None and cut[1] not in _WEBP_BESIDE:
        at, _, size = cut
        if at + 8 + size > end:  # pixels are missing
            return None
        pieces += [Piece(at, 8 + size), Piece(0, 1, b"\0")]  # it lacks the byte that makes it even
    header, length = read_at(file, 0, 12), sum(piece.size for piece in pieces)
    if after == 12 or int.from_bytes(header[4:8], "little") == length + 4:
        return None
    return [Piece(0, 12, header[:4] + struct.pack("<I", length + 4) + header[8:]), *pieces]


def _heif(file: BinaryIO) -> list[Piece] | None:
    """The whole file, in which all items but pictures are called free space. How the photo is turned stands elsewhere.

    pi-heif would read all of them, and ends the process at one whose type is no text.
    """
    end = file.seek(0, io.SEEK_END)
    pieces, done = [], 0
    for place in _types_beside_pictures(file, end):
        pieces += [Piece(done, place - done), Piece(place, 4, b"free")]
        done = place + 4
    return [*pieces, Piece(done, end - done)] if pieces else None


def _types_beside_pictures(file: BinaryIO, end: int) -> Iterator[int]:
    for kind, start, after in boxes(file, 0, end):
        if kind == b"meta":
            yield from (place for _, place in heif_items(file, start, after) if read_at(file, place, 4) not in _HEIF_PICTURES)


def _joined(pieces: list[Piece]) -> list[Piece]:
    """The same pieces, with those that follow each other in the file as one."""
    joined: list[Piece] = []
    for piece in pieces:
        last = joined[-1] if joined else None
        if last and last.content is None and piece.content is None and last.offset + last.size == piece.offset:
            joined[-1] = Piece(last.offset, last.size + piece.size)
        else:
            joined.append(piece)
    return joined
