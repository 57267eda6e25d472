"""The formats of photos: their endings, how a file is told by its first bytes, who decodes it and whether browsers show it.

Everything that asks for a format asks here: sources for endings, the decoder for signatures, the page for media types.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

PILLOW, HEIF, JPEG_XL, RAW = "pillow", "heif", "jpeg_xl", "raw"
HEAD_BYTES = 4096
"""So many first bytes of a file are enough for `format_of`."""
MOTION_ENDINGS = frozenset({".mov", ".mp4"})
"""Endings of the few seconds of film that a phone keeps beside a photo of the same name. They are no photos."""


@dataclass(frozen=True)
class ImageFormat:
    """A format of photos.

    Attributes:
        name: what people call it; for Pillow's formats the name that Pillow has for it.
        endings: how file names end, in lower case with the dot; the first is the usual one.
        media_type: its media type.
        reader: who decodes it: PILLOW, HEIF, JPEG_XL, or RAW, of which the embedded preview is read.
        in_browsers: True if every current browser shows it.
        signatures: (offset, bytes) pairs; a file is of this format if the bytes of one of them stand there.
        brands: the brands of ISO base media files (`ftyp`) that are of this format.
        makes: what TIFF's `Make` begins with in a raw photo of this format, in upper case.
        rank: which of several files of one name is the photo, if a camera or phone writes several: the lowest. None: each of
            them is a photo of its own.
    """

    name: str
    endings: tuple[str, ...]
    media_type: str
    reader: str = PILLOW
    in_browsers: bool = False
    signatures: tuple[tuple[int, bytes], ...] = ()
    brands: tuple[bytes, ...] = ()
    makes: tuple[bytes, ...] = ()
    rank: int | None = None


def _raw(
    name: str, endings: tuple[str, ...], kind: str, *signatures: tuple[int, bytes], brands: tuple[bytes, ...] = (),
    makes: tuple[bytes, ...] = (),
) -> ImageFormat:  # fmt: skip
    return ImageFormat(name, endings, f"image/x-{kind}", RAW, signatures=signatures, brands=brands, makes=makes, rank=2)


TIFF = ImageFormat(
    "TIFF", (".tif", ".tiff"), "image/tiff", signatures=((0, b"II*\0"), (0, b"MM\0*"), (0, b"II+\0"), (0, b"MM\0+"))
)
DNG = _raw("DNG", (".dng",), "adobe-dng")
FORMATS: tuple[ImageFormat, ...] = (
    ImageFormat(
        "JPEG", (".jpg", ".jpeg", ".jpe", ".jfif"), "image/jpeg", in_browsers=True, rank=0,
        signatures=((0, b"\xff\xd8\xff"),),
    ),
    ImageFormat("PNG", (".png",), "image/png", in_browsers=True, signatures=((0, b"\x89PNG\r\n\x1a\n"),)),
    ImageFormat("WEBP", (".webp",), "image/webp", in_browsers=True, signatures=((8, b"WEBP"),)),
    ImageFormat("GIF", (".gif",), "image/gif", in_browsers=True, signatures=((0, b"GIF87a"), (0, b"GIF89a"))),
    ImageFormat("BMP", (".bmp",), "image/bmp", in_browsers=True, signatures=((0, b"BM"),)),
    ImageFormat("AVIF", (".avif",), "image/avif", in_browsers=True, brands=(b"avif", b"avis")),
    ImageFormat(
        "HEIC", (".heic", ".heif", ".hif"), "image/heic", HEIF, rank=1,
        brands=(b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"),
    ),
    ImageFormat(
        "JPEG XL", (".jxl",), "image/jxl", JPEG_XL,
        signatures=((0, b"\xff\x0a"), (0, b"\0\0\0\x0cJXL \r\n\x87\n")),
    ),
    _raw("CR2", (".cr2",), "canon-cr2", (8, b"CR\x02\0")),
    _raw("CR3", (".cr3",), "canon-cr3", brands=(b"crx ",)),
    _raw("RAF", (".raf",), "fuji-raf", (0, b"FUJIFILMCCD-RAW")),
    _raw("ORF", (".orf",), "olympus-orf", (0, b"IIRO"), (0, b"IIRS"), (0, b"MMOR")),
    _raw("RW2", (".rw2",), "panasonic-rw2", (0, b"IIU\0")),
    _raw("NEF", (".nef", ".nrw"), "nikon-nef", makes=(b"NIKON",)),
    _raw("ARW", (".arw", ".sr2"), "sony-arw", makes=(b"SONY",)),
    _raw("PEF", (".pef",), "pentax-pef", makes=(b"PENTAX", b"RICOH")),
    _raw("SRW", (".srw",), "samsung-srw", makes=(b"SAMSUNG",)),
    DNG,
    TIFF,
)  # fmt: skip
"""In the order in which they are told apart: a CR2 begins like a TIFF."""

PHOTO_ENDINGS = frozenset(ending for one in FORMATS for ending in one.endings)
READABLE = "JPEG, PNG, WebP, GIF, BMP, TIFF, HEIC, AVIF, JPEG XL and the raw files of cameras"
"""The formats in a sentence."""
_BY_ENDING = {ending: one for one in FORMATS for ending in one.endings}


def format_of(head: bytes) -> ImageFormat | None:
    """The format of a file, told by its first HEAD_BYTES bytes; None if it is none of these."""
    brands = _brands(head)
    by_brand = next((one for brand in brands for one in FORMATS if brand in one.brands), None)
    if by_brand is not None:
        return by_brand
    told = next((one for one in FORMATS if any(head[at:].startswith(own) for at, own in one.signatures)), None)
    return _raw_in_tiff(head) or told if told is TIFF else told


def is_second_file(ending: str, others: Iterable[str]) -> bool:
    """Is a file only another form of the photo in a file of the same name beside it?

    IMG_1.CR2 beside IMG_1.JPG is, and so is IMG_1.HEIC beside IMG_1.JPG: of what a camera or a phone writes for one photo, the
    file that browsers show is the photo, then HEIC, then the raw file. 1.png beside 1.jpg is a photo of its own.

    Args:
        ending: the file's ending, such as ".CR2".
        others: the endings of the files of the same name; `ending` may be among them.
    """
    rank = _rank(ending)
    return rank is not None and any(other is not None and other < rank for other in map(_rank, others))


def _rank(ending: str) -> int | None:
    known = _BY_ENDING.get(ending.lower())
    return None if known is None else known.rank


def _brands(head: bytes) -> list[bytes]:
    """The brands of an ISO base media file, those that say more first; [] of any other file.

    mif1 says only that it is some image: what it is compatible with says which.
    """
    if head[4:8] != b"ftyp":
        return []
    size = int.from_bytes(head[:4], "big")
    found = [head[at : at + 4] for at in (8, *range(16, min(size, len(head)) - 3, 4))]
    return sorted(found, key=lambda brand: brand in (b"mif1", b"msf1"))


def _raw_in_tiff(head: bytes) -> ImageFormat | None:
    """The raw format of a file that begins like a TIFF; None if it is a TIFF.

    A raw file says which version of DNG it has; or its first picture is a small one, beside which are others; or its pixels
    are those of a sensor's colour filters.
    """
    tags = _tags_of_tiff(head)
    if 0xC612 in tags:  # DNGVersion
        return DNG
    small_first = tags.get(0xFE, 0) & 1 and 0x14A in tags  # NewSubfileType, SubIFDs
    if not small_first and tags.get(0x106) != 32803:  # PhotometricInterpretation: colour filter array
        return None
    start = tags.get(0x10F, len(head))  # Make
    make = head[start : start + 16].upper()
    return next((one for one in FORMATS if one.makes and make.startswith(one.makes)), DNG)


def _tags_of_tiff(head: bytes) -> dict[int, int]:
    """The tags of the first directory that lie in the head: each tag's value, or where its values are."""
    order = "<" if head[:2] == b"II" else ">"
    try:
        (start,) = struct.unpack_from(order + "I", head, 4)
        (count,) = struct.unpack_from(order + "H", head, start)
        tags = {}
        for at in range(start + 2, min(start + 2 + 12 * count, len(head) - 11), 12):
            tag, kind, number = struct.unpack_from(order + "HHI", head, at)
            short = kind == 3 and number == 1
            tags[tag] = struct.unpack_from(order + ("H" if short else "I"), head, at + 8)[0]
    except struct.error:
        return {}
    return tags
