"""From a photo's file to upright RGB pixels, and on to the square that a network reads. Never imports mindspore."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from encoder.errors import UnreadableImage
from encoder.inputs.colour import to_srgb
from encoder.inputs.image_formats import HEAD_BYTES, READABLE, format_of
from encoder.inputs.limits import GUARD, MAX_PIXELS, Unsupported
from encoder.inputs.opened import OpenedPhoto
from encoder.inputs.opening import open_photo

PREPROCESSINGS = ("squash", "center_crop", "resize_crop", "resize_crop_cv")
LONGEST_RESIZED = 64
"""The most sides of its square that OpenCV resizes a photo to: the whole of a resized panorama would not fit into memory."""


def decode(source: str | os.PathLike | bytes, at_least: int | None = None, name: str | None = None) -> Image.Image:
    """Decode a photo to upright RGB in sRGB, 8 bits; its profile is applied, alpha is laid over white.

    Args:
        source: a path, or the bytes of the file.
        at_least: a JPEG may be decoded at a reduced scale whose shorter side is at least this, in pixels. It is faster, and
            enough for a thumbnail and for "squash"; "center_crop" would read other pixels.
        name: what errors call the photo.

    Raises:
        UnreadableImage: with the reason `missing`, `unreadable`, `empty`, `not_an_image`, `too_large`, `unsupported` or
            `damaged`.
        MemoryError: there is not enough memory for its pixels.
    """
    return decode_sized(source, at_least, name)[0]


def decode_sized(
    source: str | os.PathLike | bytes, at_least: int | None = None, name: str | None = None
) -> tuple[Image.Image, tuple[int, int]]:
    """Decode a photo as `decode` does; gives also the (width, height) of the whole upright photo, in pixels."""
    name = name or ("the uploaded photo" if isinstance(source, bytes) else str(source))
    with GUARD, _opened(source, name) as photo:
        image = photo.load(at_least)
        stored = image.size
        _turn_upright(image)
        picture = to_srgb(image)
    width, height = photo.size
    return picture, (width, height) if picture.size == stored else (height, width)


def size_of(content: bytes, name: str = "the uploaded photo") -> tuple[int, int]:
    """The (width, height) of a photo as it is stored, in pixels. Its pixels are not decoded.

    Raises:
        UnreadableImage: as `decode` does.
    """
    with GUARD, _opened(content, name) as photo:
        return photo.size


def prepare(image: Image.Image, size: int, preprocessing: str = "squash") -> np.ndarray:
    """Make an RGB image into the square that a network reads.

    "squash" scales the whole photo, bicubic with antialiasing. "center_crop", of OPT-v2 (OPT specification, 2.3), takes the
    middle square of the photo, its shorter side scaled to `size` WITHOUT antialiasing. It reads four pixels for each that it
    makes, so the photo must have been decoded in full. "resize_crop_cv", of OPT-v1 (2.2), takes the same square in OpenCV's
    whole numbers, which differ from that by 1 at most. "resize_crop", of models that were imported as OPT-v1 before this one
    was there, takes it by Pillow's bilinear filter, which has antialiasing.

    Returns:
        uint8 [size, size, 3].
    """
    if preprocessing == "center_crop":
        return _center_crop(np.asarray(image), size)
    if preprocessing == "resize_crop_cv":
        return _resize_crop_cv(np.asarray(image), size)
    if preprocessing == "resize_crop":
        return _resize_crop(image, size)
    return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC), dtype=np.uint8)


def _center_crop(image: np.ndarray, size: int) -> np.ndarray:
    """Scale and crop uint8 [h, w, 3] to [size, size, 3], bilinear with half-pixel centres."""
    short = min(image.shape[:2])
    (top, bottom, down), (left, right, across) = (_neighbours(side, side * size // short, size) for side in image.shape[:2])
    across, down = across[None, :, None], down[:, None, None]
    above, below = (image[rows][:, left] * (1 - across) + image[rows][:, right] * across for rows in (top, bottom))
    return np.floor(above * (1 - down) + below * down + 0.5).astype(np.uint8)


def _resize_crop_cv(image: np.ndarray, size: int) -> np.ndarray:
    """Scale uint8 [h, w, 3] with OpenCV, and crop it to [size, size, 3]."""
    import cv2

    height, width = (side * size // min(image.shape[:2]) for side in image.shape[:2])
    if max(height, width) > LONGEST_RESIZED * size:
        return _center_crop(image, size)
    top, left = (height - size) // 2, (width - size) // 2
    resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(resized[top : top + size, left : left + size])


def _resize_crop(image: Image.Image, size: int) -> np.ndarray:
    """Resize only the middle square of a photo: the whole of a resized panorama would not fit into memory."""
    scaled = [side * size // min(image.size) for side in image.size]
    starts = [(length - size) // 2 for length in scaled]
    ends = [(start + size, start) for start in starts]
    (right, left), (bottom, top) = (
        [position * side / length for position in pair] for pair, side, length in zip(ends, image.size, scaled, strict=True)
    )
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR, box=(left, top, right, bottom)), dtype=np.uint8)


def _neighbours(side: int, scaled: int, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For the middle `size` pixels of a side scaled to `scaled`: the source pixel before, the one after, and its weight."""
    positions = (scaled - size) // 2 + np.arange(size)
    at = np.clip((positions + 0.5) * (side / scaled) - 0.5, 0, side - 1)
    before = at.astype(np.intp)
    return before, np.minimum(before + 1, side - 1), (at - before).astype(np.float32)


@contextmanager
def _opened(source: str | os.PathLike | bytes, name: str) -> Iterator[OpenedPhoto]:
    """The photo in a file, open for the `with`. Whatever fails meanwhile is raised as UnreadableImage."""
    try:
        if not (len(source) if isinstance(source, bytes) else os.stat(source).st_size):  # a pipe would be waited for
            raise UnreadableImage("empty", f"{name} is empty; replace the file.")
        with io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb") as file:
            kind = format_of(file.read(HEAD_BYTES))
            if kind is None:
                raise UnreadableImage("not_an_image", f"{name} is not an image that can be read ({READABLE} can).")
            file.seek(0)
            yield open_photo(file, kind)
    except (UnreadableImage, MemoryError):
        raise
    except Exception as error:
        raise _unreadable(error, name) from error


def _unreadable(error: Exception, name: str) -> UnreadableImage:
    """What is wrong with a photo, by what was raised: decoders fail in any way on what is damaged."""
    if isinstance(error, FileNotFoundError):
        return UnreadableImage("missing", f"{name} does not exist; check the path.")
    if isinstance(error, OSError) and error.errno:
        return UnreadableImage("unreadable", f"{name} cannot be read ({error.strerror}).")
    if isinstance(error, Image.DecompressionBombError):
        limit = f"more than the {MAX_PIXELS // 10**6} million pixels that are read"
        return UnreadableImage("too_large", f"{name} has {limit}; scale it down.")
    if isinstance(error, Unsupported):
        return UnreadableImage("unsupported", f"{name} {error}; save it with 8 bits in each colour.")
    problem = "its header can't be read" if isinstance(error, UnidentifiedImageError) else _one_line(error)
    return UnreadableImage("damaged", f"{name} is damaged ({problem}); replace the file.")


def _turn_upright(image: Image.Image) -> None:
    with suppress(Exception):  # broken EXIF doesn't make the pixels wrong
        ImageOps.exif_transpose(image, in_place=True)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
