"""Finds EXIF, XMP and IPTC in a photo's file. Only headers are read."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from encoder.inputs.container_parts import boxes, heif_items, jpeg_segments, png_chunks, read_at, webp_chunks
from encoder.inputs.containers import Piece, Pieces
from encoder.inputs.image_formats import HEAD_BYTES, HEIF, RAW, TIFF, format_of

LARGEST = 4 << 20
"""A block of more bytes is passed over."""
EXIF, XMP, IPTC = "exif", "xmp", "iptc"
_EXIF_HEAD, _XMP_HEAD = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
_PHOTOSHOP_HEAD, _PNG_XMP = b"Photoshop 3.0\0", b"XML:com.adobe.xmp\0"
_TIFF_STARTS = {b"II": b"II*\0", b"MM": b"MM\0*"}
_IPTC_RESOURCE = 0x0404


@dataclass(frozen=True)
class Block:
    """A block of metadata: its kind (EXIF, XMP or IPTC) and content. EXIF begins with TIFF's header."""

    kind: str
    content: bytes


def blocks_of(file: BinaryIO) -> Iterator[Block]:
    """The blocks of metadata in a photo's file. A TIFF is itself one of EXIF: see `as_tiff`."""
    found = format_of(read_at(file, 0, HEAD_BYTES))
    reader = _READERS.get(found.name if found else "") or (_in_heif if found and found.reader == HEIF else None)
    for kind, content in reader(file) if reader else ():
        if 0 < len(content) <= LARGEST:
            yield Block(kind, content)


def as_tiff(file: BinaryIO) -> BinaryIO | None:
    """A file that is built as a TIFF, as one: a TIFF, or a raw photo of most cameras; None if it isn't."""
    head = read_at(file, 0, HEAD_BYTES)
    found = format_of(head)
    if found is None or (found is not TIFF and found.reader != RAW) or head[:2] not in _TIFF_STARTS:
        return None
    size = file.seek(0, io.SEEK_END)  # some begin with a name of their own in place of TIFF's
    return io.BufferedReader(Pieces(file, [Piece(0, 4, _TIFF_STARTS[head[:2]]), Piece(4, size - 4)]))


def canon_directories(file: BinaryIO) -> dict[bytes, bytes]:
    """The directories of EXIF in Canon's CR3, by the name of their box; each is a TIFF of its own. {} of other files."""
    if not read_at(file, 4, 8).startswith(b"ftypcrx"):
        return {}
    film = [part for part in boxes(file, 0, file.seek(0, io.SEEK_END)) if part[0] == b"moov"]
    own = [part for _, start, end in film for part in boxes(file, start, end) if part[0] == b"uuid"]
    inside = [part for _, start, end in own for part in boxes(file, start + 16, end)]
    return {kind: read_at(file, start, min(LARGEST, end - start)) for kind, start, end in inside if kind.startswith(b"CMT")}


def _in_fuji(file: BinaryIO) -> Iterator[tuple[str, bytes]]:
    """Fuji's RAF says where its preview is, a JPEG."""
    start, size = (int.from_bytes(read_at(file, at, 4), "big") for at in (84, 88))
    yield from _in_jpeg(io.BytesIO(read_at(file, start, min(size, LARGEST))))


def _in_jpeg(file: BinaryIO) -> Iterator[tuple[str, bytes]]:
    resources = b""
    for at, marker, size in jpeg_segments(file):
        if marker == 0xE1:
            content = read_at(file, at + 4, size - 4)
            if content.startswith(_EXIF_HEAD):
                yield EXIF, content[len(_EXIF_HEAD) :]
            elif content.startswith(_XMP_HEAD):
                yield XMP, content[len(_XMP_HEAD) :]
        elif marker == 0xED:
            content = read_at(file, at + 4, size - 4)
            if content.startswith(_PHOTOSHOP_HEAD):
                resources += content[len(_PHOTOSHOP_HEAD) :]
    yield from ((IPTC, content) for content in iptc_in_resources(resources))


def iptc_in_resources(resources: bytes) -> Iterator[bytes]:
    """The IPTC records among Photoshop's image resources."""
    at = 0
    while resources[at : at + 4] == b"8BIM":
        kind = int.from_bytes(resources[at + 4 : at + 6], "big")
        named = resources[at + 6] if at + 6 < len(resources) else 0
        start = at + 6 + (named + 2) // 2 * 2
        size = int.from_bytes(resources[start : start + 4], "big")
        if kind == _IPTC_RESOURCE:
            yield resources[start + 4 : start + 4 + size]
        at = start + 4 + size + size % 2


def _in_png(file: BinaryIO) -> Iterator[tuple[str, bytes]]:
    for at, kind, size in png_chunks(file):
        if kind not in (b"eXIf", b"iTXt") or size > LARGEST:
            continue
        if kind == b"eXIf":
            yield EXIF, read_at(file, at + 8, size).removeprefix(_EXIF_HEAD)
        elif read_at(file, at + 8, len(_PNG_XMP)) == _PNG_XMP:
            yield XMP, _text_of(read_at(file, at + 8 + len(_PNG_XMP), size - len(_PNG_XMP)))


def _text_of(content: bytes) -> bytes:
    """The text in what follows the keyword of a PNG's iTXt; b"" if it unfolds to more than LARGEST bytes."""
    packed, rest = content[:1] == b"\1", content[2:]
    text = rest.split(b"\0", 2)[-1]
    if not packed:
        return text
    unpacker = zlib.decompressobj()
    unpacked = unpacker.decompress(text, LARGEST)
    return unpacked if unpacker.eof else b""


def _in_webp(file: BinaryIO) -> Iterator[tuple[str, bytes]]:
    for at, kind, size in webp_chunks(file):
        if kind in (b"EXIF", b"XMP ") and size <= LARGEST:
            content = read_at(file, at + 8, size)
            yield (EXIF, content.removeprefix(_EXIF_HEAD)) if kind == b"EXIF" else (XMP, content)


def _in_jpeg_xl(file: BinaryIO) -> Iterator[tuple[str, bytes]]:
    for kind, start, end in boxes(file, 0, file.seek(0, io.SEEK_END)):
        if kind in (b"Exif", b"xml ") and end - start <= LARGEST:
            content = read_at(file, start, end - start)
            yield (EXIF, _after_offset(content)) if kind == b"Exif" else (XMP, content)


def _in_heif(file: BinaryIO) -> Iterator[tuple[str, bytes]]:
    for kind, start, end in boxes(file, 0, file.seek(0, io.SEEK_END)):
        if kind == b"meta":
            yield from _items(file, start, end)


def _items(file: BinaryIO, start: int, end: int) -> Iterator[tuple[str, bytes]]:
    types = {number: read_at(file, place, 4) for number, place in heif_items(file, start, end)}
    if not {b"Exif", b"mime"} & set(types.values()):
        return
    for number, extents in _item_places(file, start, end):
        kind = types.get(number)
        if kind in (b"Exif", b"mime") and sum(size for _, size in extents) <= LARGEST:
            content = b"".join(read_at(file, at, size) for at, size in extents)
            yield (EXIF, _after_offset(content)) if kind == b"Exif" else (XMP, content)


def _after_offset(content: bytes) -> bytes:
    """EXIF as HEIF and JPEG XL keep it: first an offset, of four bytes, to TIFF's header."""
    return content[4 + int.from_bytes(content[:4], "big") :]


def _item_places(file: BinaryIO, start: int, end: int) -> Iterator[tuple[int, list[tuple[int, int]]]]:
    """Where the items of a `meta` box lie in the file: (id, (offset, size) of each part)."""
    for kind, first, last in boxes(file, start + 4, end):
        if kind == b"iloc" and last - first <= LARGEST:
            yield from _locations(io.BytesIO(read_at(file, first, last - first)))


def _locations(table: BinaryIO) -> Iterator[tuple[int, list[tuple[int, int]]]]:
    def number(size: int) -> int:
        taken = table.read(size)
        if len(taken) < size:
            raise EOFError
        return int.from_bytes(taken, "big")

    version = number(4) >> 24
    sizes = number(2)
    offset_size, length_size, base_size, index_size = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
    for _ in range(number(4 if version == 2 else 2)):
        item = number(4 if version == 2 else 2)
        in_file = version == 0 or not number(2) & 15
        number(2)
        base = number(base_size)
        extents = []
        for _ in range(number(2)):
            if version:
                number(index_size)
            extents.append((base + number(offset_size), number(length_size)))
        if in_file:
            yield item, extents


_READERS: dict[str, Callable[[BinaryIO], Iterator[tuple[str, bytes]]]] = {
    "JPEG": _in_jpeg, "PNG": _in_png, "WEBP": _in_webp, "AVIF": _in_heif, "JPEG XL": _in_jpeg_xl,
    "RAF": _in_fuji,
}  # fmt: skip
