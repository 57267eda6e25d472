"""What a photo says of itself, as plain columns: when and where it was taken, with what, and what people wrote about it.

The columns, each only if the photo has it:

    taken        ISO 8601 as the clock showed it, with its distance from UTC where that is known: "2024-05-06T07:08:09+02:00"
    camera, lens, creator, title, description    texts
    latitude, longitude    decimal degrees, north and east positive
    altitude     metres, negative below the sea
    iso          a whole number
    aperture     the f-number
    exposure     seconds
    focal_length    millimetres
    rating       stars from 1 to 5; -1 of a photo that was rejected
    tags, people    lists of texts; the levels of a tag are separated by "/"
    favorite     True

Nothing here raises, whatever a stranger's file says: what is broken is left out. Only headers are read.
"""

from __future__ import annotations

import io
import os
from contextlib import suppress
from typing import Any, BinaryIO

from indexer.metadata import blocks, exif, iptc, takeout, xmp

Columns = dict[str, Any]
_LISTS = ("tags", "people")


def read_metadata(source: str | os.PathLike | bytes) -> Columns:
    """The columns in a photo: in EXIF, XMP and IPTC of JPEG, TIFF, HEIC, AVIF, PNG, WebP, JPEG XL and raw files.

    Where several say the same, what the camera wrote (EXIF) counts for the picture, what people wrote (XMP, then IPTC) for the
    texts; keywords are put together.

    Args:
        source: a path, or the bytes of the file, of which the beginning is enough for a JPEG.
    """
    with suppress(Exception), io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb") as file:
        return _merged(*_parts(file))
    return {}


def read_xmp_sidecar(content: bytes | str) -> Columns:
    """The columns in a sidecar `.xmp`, such as Lightroom and darktable write beside a photo."""
    with suppress(Exception):
        return xmp.columns_of(content)
    return {}


def read_takeout_sidecar(content: bytes | str) -> Columns:
    """The columns in the JSON that Google Takeout lays beside a photo; `title` is then the name of its file."""
    with suppress(Exception):
        return takeout.columns_of(content)
    return {}


def _parts(file: BinaryIO) -> tuple[Columns, Columns, Columns]:
    """The columns of EXIF, XMP and IPTC in a file."""
    found: dict[str, Columns] = {blocks.EXIF: {}, blocks.XMP: {}, blocks.IPTC: {}}
    tiff, canon = blocks.as_tiff(file), blocks.canon_directories(file)
    if canon:
        found[blocks.EXIF] = exif.columns_of_directories(*(canon.get(name, b"") for name in (b"CMT1", b"CMT2", b"CMT4")))
    elif tiff is not None:
        found[blocks.EXIF], packet, records = exif.columns_of_tiff(tiff)
        found[blocks.XMP], found[blocks.IPTC] = xmp.columns_of(packet), iptc.columns_of(records)
    else:
        readers = {blocks.EXIF: exif.columns_of, blocks.XMP: xmp.columns_of, blocks.IPTC: iptc.columns_of}
        with suppress(Exception):  # what was found before the damage counts
            for block in blocks.blocks_of(file):
                found[block.kind] = found[block.kind] or readers[block.kind](block.content)
    return found[blocks.EXIF], found[blocks.XMP], found[blocks.IPTC]


def _merged(camera: Columns, written: Columns, records: Columns) -> Columns:
    """One dict of what EXIF, XMP and IPTC say."""
    texts = ("title", "description", "creator", "rating")
    merged = records | written | camera
    merged |= {name: own[name] for name in texts for own in (camera, records, written) if name in own}
    for name in _LISTS:
        together = [value for own in (written, records, camera) for value in own.get(name, [])]
        if together:
            merged[name] = list(dict.fromkeys(together))
    return merged
