"""Opens a photo of any format: its size first, then its pixels. What decodes a format is imported when a file has it."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from PIL import Image, ImageChops, ImageFile, UnidentifiedImageError

from encoder.inputs import jpeg_xl, tiff
from encoder.inputs.containers import pixels_of
from encoder.inputs.heif_tiles import is_cut_short
from encoder.inputs.image_formats import HEIF, JPEG_XL, RAW, TIFF, ImageFormat
from encoder.inputs.jpeg_ends import check_kind, with_end_mark
from encoder.inputs.limits import check_pixels
from encoder.inputs.opened import OpenedPhoto

if TYPE_CHECKING:
    from rawpy import RawPy

SMALL_PREVIEW = 400
"""A raw photo whose preview has a shorter side of less than this, in pixels, is made from the sensor's own pixels."""
ORIENTATION = 0x0112
_ORIENTATIONS = {3: 3, 5: 8, 6: 6}
"""EXIF's number for how a raw photo is turned, by LibRaw's."""


def open_photo(file: BinaryIO, kind: ImageFormat) -> OpenedPhoto:
    """Open a photo within `limits.GUARD`. The file must stay open until it is loaded.

    Raises:
        Image.DecompressionBombError: it has too many pixels.
        limits.Unsupported: its pixels are of a kind that isn't read.
        Exception: of any kind: it is damaged.
    """
    readers = {RAW: _open_raw, HEIF: _open_heif, JPEG_XL: _open_jpeg_xl}
    if kind.reader in readers:
        return readers[kind.reader](file)
    return tiff.open_tiff(file) if kind is TIFF else _open_with_pillow(pixels_of(file, kind.name), kind.name)


def _open_with_pillow(file: BinaryIO, name: str) -> OpenedPhoto:
    if name == "JPEG":
        return _open_jpeg(file)
    image = Image.open(file, formats=[name])
    _bring_clear_colour_to_8_bits(image)
    return OpenedPhoto.of(image)


def _open_jpeg(file: BinaryIO) -> OpenedPhoto:
    try:
        image = Image.open(file, formats=["JPEG"])
    except UnidentifiedImageError:
        check_kind(file)
        raise

    def load(at_least: int | None) -> Image.Image:
        if at_least:
            image.draft("RGB", (at_least, at_least))
        try:
            image.load()
        except OSError:
            check_kind(file)
            return _as_cmyk(with_end_mark(file, at_least))
        return _as_cmyk(image)

    return OpenedPhoto(image.size, load)


def _bring_clear_colour_to_8_bits(image: ImageFile.ImageFile) -> None:
    """A PNG's pixels of 16 bits come in 8, and the colour that stands for clear does not."""
    clear = image.info.get("transparency")
    if isinstance(clear, tuple) and image.tile and image.tile[0].args == "RGB;16B":
        image.info["transparency"] = tuple(value >> 8 for value in clear)


def _as_cmyk(image: Image.Image) -> Image.Image:
    """A JPEG's CMYK the right way round: Pillow takes all for Adobe's, which are stored inverted."""
    if image.mode != "CMYK" or "adobe" in image.info:
        return image
    return _with_info(ImageChops.invert(image), image)


def _with_info(image: Image.Image, source: Image.Image) -> Image.Image:
    image.info.update(source.info)
    return image


def _open_heif(file: BinaryIO) -> OpenedPhoto:
    import pi_heif

    options = pi_heif.options
    options.DECODE_THREADS = 1  # photos are decoded side by side already
    options.THUMBNAILS = options.DEPTH_IMAGES = options.AUX_IMAGES = False
    if is_cut_short(file):
        raise OSError("the file ends before its photo")
    image = pi_heif.HeifImageFile(pixels_of(file, "HEIC"))
    check_pixels(image.size)
    return OpenedPhoto.of(image)


def _open_jpeg_xl(file: BinaryIO) -> OpenedPhoto:
    content = file.read()
    size = jpeg_xl.size_of(content)
    check_pixels(size)
    return OpenedPhoto(size, lambda _: jpeg_xl.decode(content))


def _open_raw(file: BinaryIO) -> OpenedPhoto:
    import rawpy

    try:
        raw = rawpy.imread(file)
    except rawpy.LibRawError:
        file.seek(0)
        return tiff.open_tiff(file)  # some scanners' files look like a camera's
    preview = _preview(raw)
    if preview is not None:
        return preview
    across, down = raw.sizes.width, raw.sizes.height
    size = (down, across) if raw.sizes.flip in (5, 6) else (across, down)
    check_pixels(size)
    return OpenedPhoto(size, lambda _: _developed(raw))


def _preview(raw: RawPy) -> OpenedPhoto | None:
    """The largest picture that the camera put into a raw photo; None if there is none of use."""
    import rawpy

    try:
        thumbnail = raw.extract_thumb()
    except rawpy.LibRawError:
        return None
    if thumbnail.format != rawpy.ThumbFormat.JPEG:
        return None
    try:
        opened = _open_jpeg(pixels_of(io.BytesIO(bytes(thumbnail.data)), "JPEG"))
    except UnidentifiedImageError:
        return None
    if min(opened.size) < SMALL_PREVIEW < min(raw.sizes.width, raw.sizes.height):
        return None

    def load(at_least: int | None) -> Image.Image:
        image = opened.load(at_least)
        if image.getexif().get(ORIENTATION, 1) == 1:
            image.getexif()[ORIENTATION] = _ORIENTATIONS.get(raw.sizes.flip, 1)
        return image

    return OpenedPhoto(opened.size, load)


def _developed(raw: RawPy) -> Image.Image:
    """A raw photo made from the sensor's pixels, at half its size."""
    return Image.fromarray(np.ascontiguousarray(raw.postprocess(half_size=True, use_camera_wb=True)))
