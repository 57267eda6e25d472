"""TIFF: kinds of samples that Pillow brings to 8 bits for sure are left to it, all others are read raw and scaled here."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from encoder.inputs.limits import Unsupported, check_pixels
from encoder.inputs.opened import OpenedPhoto
from encoder.inputs.samples import Samples, check_floats, to_picture

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

NEW_SUBFILE_TYPE, BITS, PHOTOMETRIC, ORIENTATION, PLANAR, SAMPLE_FORMAT = 254, 258, 262, 274, 284, 339
COMPRESSION, TILE_WIDTH, TILE_LENGTH, SUBSAMPLING = 259, 322, 323, 530
SMALL_OR_MASK = 1 | 4
LARGEST_TILE = 4096 * 4096
JPEG = 7
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR, CIELAB, ICCLAB = 0, 1, 2, 3, 5, 6, 8, 9
MOST_PAGES, MOST_CHANNELS, MOST_BYTES = 8, 8, 8
"""How many pages are looked through, and what a pixel may have: of more bytes, fewer pixels are read."""
MISSING = "parts of its pixels are missing"
_MODES = {WHITE_IS_ZERO: "L", BLACK_IS_ZERO: "L", RGB: "RGB", CMYK: "CMYK"}
_FOR_PILLOW = {
    (bits, photometric)
    for bits, kinds in {
        1: (WHITE_IS_ZERO, BLACK_IS_ZERO, PALETTE), 2: (WHITE_IS_ZERO, BLACK_IS_ZERO, PALETTE),
        4: (WHITE_IS_ZERO, BLACK_IS_ZERO, PALETTE),
        8: (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR, CIELAB), 16: (BLACK_IS_ZERO, RGB, CMYK),
    }.items()
    for photometric in kinds
}  # fmt: skip
"""(bits of a sample, photometric interpretation) of the pictures that Pillow reads right."""


def open_tiff(file: BinaryIO) -> OpenedPhoto:
    """Open the first picture of a TIFF that is more than a small copy of another. Raises what `opening.open_photo` raises."""
    try:
        image = TiffImageFile(file)
        _seek_full_picture(image)
    except SyntaxError:
        image = None
    if image is None or not _pillow_reads(image):
        file.seek(0)
        return _open_raw_samples(file)
    check_pixels(image.size)
    _check_tile(image.size, image.tag_v2.get(TILE_WIDTH, 1), image.tag_v2.get(TILE_LENGTH, 1))
    if not _has_all_parts(image):
        raise ValueError(MISSING)
    return OpenedPhoto.of(image)


def _check_tile(size: tuple[int, int], width: int, length: int) -> None:
    """Check that a tile is not much larger than the picture: memory is taken for all of it."""
    if width * length > max(4 * size[0] * size[1], LARGEST_TILE):
        raise ValueError(f"its tiles are {width} x {length} pixels")


def _has_all_parts(image: TiffImageFile) -> bool:
    """Do the strips or tiles cover the picture? What none of them holds would be black."""
    areas = [part.extents for part in image.tile]
    if None in areas:
        return True
    return (
        sum((right - left) * (lower - upper) for left, upper, right, lower in filter(None, areas)) >= image.width * image.height
    )


def _seek_full_picture(image: TiffImageFile) -> None:
    for number in range(MOST_PAGES):
        try:
            image.seek(number)
        except EOFError:
            break
        if not image.tag_v2.get(NEW_SUBFILE_TYPE, 0) & SMALL_OR_MASK:
            return
    image.seek(0)


def _pillow_reads(image: TiffImageFile) -> bool:
    tags = image.tag_v2
    bits = _as_tuple(tags.get(BITS, 1))
    unsigned = set(_as_tuple(tags.get(SAMPLE_FORMAT, 1))) <= {1, 4}
    chunky = tags.get(PLANAR, 1) == 1 or len(bits) == 1
    if tags.get(PHOTOMETRIC) == YCBCR and tags.get(COMPRESSION, 1) == 1 and tuple(tags.get(SUBSAMPLING, (2, 2))) != (1, 1):
        raise Unsupported("has colours at less than its size, and is not compressed")
    return unsigned and chunky and len(set(bits)) == 1 and (bits[0], tags.get(PHOTOMETRIC)) in _FOR_PILLOW


def _as_tuple(value: object) -> tuple:
    return value if isinstance(value, tuple) else (value,)


def _open_raw_samples(file: BinaryIO) -> OpenedPhoto:
    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # its remarks on metadata would break the progress bar
    page = _full_page(tifffile.TiffFile(file))
    size = page.imagewidth, page.imagelength
    check_pixels(size)
    _check_tile(size, page.tilewidth, page.tilelength)
    numbers = page.samplesperpixel * page.imagedepth
    if page.imagedepth > 1 or not 0 < numbers <= MOST_CHANNELS:
        raise Unsupported(f"has {numbers} numbers in a pixel")
    check_pixels((size[0] * page.nbytes // (size[0] * size[1] * MOST_BYTES), size[1]))
    return OpenedPhoto(size, lambda _: _with_tags(to_picture(_samples(page)), page))


def _full_page(file: TiffFile) -> TiffPage:
    pages = [file.pages.get(number) for number in range(min(MOST_PAGES, len(file.pages)))]
    whole = [page.aspage() for page in pages if not page.aspage().subfiletype & SMALL_OR_MASK]
    return whole[0] if whole else pages[0].aspage()


def _with_tags(image: Image.Image, page: TiffPage) -> Image.Image:
    image.info["icc_profile"] = page.iccprofile
    image.getexif()[ORIENTATION] = page.tags.valueof(ORIENTATION, 1)
    return image


def _samples(page: TiffPage) -> Samples:
    """The samples of a page, of which it is known what they stand for.

    Raises:
        Unsupported: it is not known.
        ValueError: some are missing.
    """
    photometric = page.tags.valueof(PHOTOMETRIC)
    values = _raw_values(page)
    if photometric == PALETTE and values.dtype.kind == "u" and page.colormap is not None:
        return Samples(np.moveaxis(page.colormap[:, values[..., 0]], 0, -1), white=65535.0)
    if photometric == YCBCR and page.compression == JPEG:
        photometric = RGB  # tifffile has converted it
    if photometric in (CIELAB, ICCLAB) and values.dtype.kind == "u" and values.shape[2] >= 3:
        return _lab(values[..., :3], page.bitspersample, signed=photometric == CIELAB)
    if photometric not in _MODES:
        raise Unsupported("has pixels whose numbers stand for no colours that are known")
    black, white = _ends(values, page.bitspersample)
    if photometric == WHITE_IS_ZERO:
        black, white = white, black
    mode = _MODES[photometric]
    channels = len(mode)
    alpha = {1: "a", 2: "A"}.get(page.extrasamples[0] if page.extrasamples else 0) if mode in ("L", "RGB") else None
    if alpha is not None and values.shape[2] > channels and photometric != WHITE_IS_ZERO:
        return Samples(values[..., : channels + 1], white, black, mode + alpha)
    return Samples(values[..., :channels], white, black, mode)


def _raw_values(page: TiffPage) -> np.ndarray:
    """[h, w, channels], as they are stored."""
    segments = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    end = page.parent.filehandle.size
    if len(segments) < np.prod(page.chunked) or any(not at or not size or at + size > end for at, size in segments):
        raise ValueError(MISSING)
    values = page.asarray(squeeze=False, maxworkers=1)
    return values[0, 0] if len(values) == 1 else np.moveaxis(values[:, 0, :, :, 0], 0, -1)


def _ends(values: np.ndarray, bits: int) -> tuple[float, float]:
    """What stands for black and for white where 0 is black."""
    if values.dtype.kind in "ub":
        return 0.0, float(2**bits - 1)
    if values.dtype.kind != "f":
        raise Unsupported("has pixels with a sign, and nothing says which of them is white")
    check_floats(values)
    return 0.0, 1.0


def _lab(values: np.ndarray, bits: int, signed: bool) -> Samples:
    shifted = (values >> (bits - 8)).astype(np.uint8)
    if not signed:  # Pillow takes a* and b* with their sign
        shifted[..., 1:] ^= 0x80
    return Samples(shifted, white=255.0, mode="LAB")
