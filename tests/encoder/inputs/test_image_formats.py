"""Formats are told by first bytes; of what a camera writes for one photo one file is the photo."""

from __future__ import annotations

import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from encoder.inputs.image_formats import FORMATS, HEAD_BYTES, PHOTO_ENDINGS, PILLOW, format_of, is_second_file


def name_of(head: bytes) -> str | None:
    found = format_of(head)
    return found and found.name


@pytest.mark.parametrize("kind", [one.name for one in FORMATS if one.reader == PILLOW])
def test_what_pillow_writes_is_told(kind):
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, kind)
    assert name_of(stream.getvalue()[:HEAD_BYTES]) == kind


def ftyp(major: bytes, *compatible: bytes) -> bytes:
    content = b"ftyp" + major + bytes(4) + b"".join(compatible)
    return struct.pack(">I", len(content) + 4) + content + struct.pack(">I", 8) + b"mdat"


@pytest.mark.parametrize(
    "head, name",
    [
        (ftyp(b"heic", b"mif1"), "HEIC"),
        (ftyp(b"mif1", b"mif1", b"heic"), "HEIC"),
        (ftyp(b"mif1", b"avif", b"miaf"), "AVIF"),
        (ftyp(b"avif", b"mif1"), "AVIF"),
        (ftyp(b"mif1"), "HEIC"),
        (ftyp(b"crx ", b"isom"), "CR3"),
        (ftyp(b"qt  "), None),
        (b"\xff\x0a\x7f", "JPEG XL"),
        (b"\0\0\0\x0cJXL \r\n\x87\n\0\0\0\x14ftypjxl ", "JPEG XL"),
        (b"II*\0\x10\0\0\0CR\x02\0", "CR2"),
        (b"FUJIFILMCCD-RAW 0201", "RAF"),
        (b"IIRO\x08\0\0\0", "ORF"),
        (b"IIU\0\x18\0\0\0", "RW2"),
        (b"MM\0*", "TIFF"),
        (b"II+\0\x08\0\0\0", "TIFF"),
        (b"%PDF-1.4", None),
        (b"", None),
    ],
)
def test_signatures(head, name):
    assert name_of(head) == name


def tiff(order: str, entries: list[tuple[int, int, int, int]], tail: bytes = b"") -> bytes:
    """A TIFF of one directory; each entry is (tag, type, number, value)."""
    head = struct.pack(order + "2sHI", b"II" if order == "<" else b"MM", 42, 8) + struct.pack(order + "H", len(entries))
    for tag, kind, number, value in entries:
        short = kind == 3 and number == 1
        head += struct.pack(order + "HHI", tag, kind, number)
        head += struct.pack(order + "HH", value, 0) if short else struct.pack(order + "I", value)
    return head + bytes(4) + tail


@pytest.mark.parametrize("order", ["<", ">"])
def test_raw_files_that_begin_like_a_tiff_are_told_by_their_tags(order):
    make = 8 + 2 + 12 * 3 + 4
    small_first = [(0xFE, 4, 1, 1), (0x10F, 2, 18, make), (0x14A, 4, 2, 500)]
    assert name_of(tiff(order, small_first, b"NIKON CORPORATION\0")) == "NEF"
    assert name_of(tiff(order, small_first, b"SONY\0")) == "ARW"
    assert name_of(tiff(order, [(0xC612, 1, 4, 0x04010000)])) == "DNG"
    assert name_of(tiff(order, [(0x106, 3, 1, 32803)])) == "DNG"
    assert name_of(tiff(order, [(0xFE, 4, 1, 0), *small_first[1:]], b"NIKON SCAN\0")) == "TIFF"
    assert name_of(tiff(order, [(0x106, 3, 1, 2)])) == "TIFF"


@given(st.sampled_from([b"", b"II*\0", b"MM\0*", b"\0\0\0\x18ftyp"]), st.binary(max_size=300))
def test_any_bytes_can_be_asked_about(start, rest):
    assert format_of(start + rest) in (None, *FORMATS)


def test_endings():
    assert {".jpe", ".jfif", ".hif", ".heif", ".avif", ".jxl", ".nef", ".dng"} <= PHOTO_ENDINGS
    assert all(ending == ending.lower() and ending.startswith(".") for ending in PHOTO_ENDINGS)
    assert len(PHOTO_ENDINGS) == sum(len(one.endings) for one in FORMATS), "an ending has one format"


@pytest.mark.parametrize(
    "ending, others, second",
    [
        (".HEIC", {".jpg"}, True),
        (".CR2", {".CR2", ".JPG"}, True),
        (".dng", {".heic"}, True),
        (".heic", {".mov"}, False),
        (".jpg", {".heic", ".cr2"}, False),
        (".jpg", {".jpeg"}, False),
        (".png", {".jpg"}, False),
        (".tif", {".cr2"}, False),
        (".nef", {".tif", ".txt"}, False),
    ],
)
def test_one_file_of_a_name_is_the_photo(ending, others, second):
    assert is_second_file(ending, others) is second
