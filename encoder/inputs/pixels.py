"""From a photo's file to upright RGB pixels, and on to the square that a network reads. Never imports mindspore."""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path
from threading import Lock

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from encoder.errors import UnreadableImage
from encoder.inputs.image_formats import FORMATS as IMAGE_FORMATS
from encoder.inputs.image_formats import PILLOW, READABLE

PREPROCESSINGS = ("squash", "center_crop", "resize_crop")
FORMATS = tuple(one.name for one in IMAGE_FORMATS if one.reader == PILLOW)
MAX_PIXELS = 200_000_000


class _Guard:
    """Sets the limit of Pillow's guard against decompression bombs to MAX_PIXELS for a `with`.

    The limit is one for the whole process: it is set while any thread is inside, and put back when the last one leaves. A
    photo above it is refused before memory is taken for it.
    """

    def __init__(self) -> None:
        self._lock, self._inside = Lock(), 0
        self._limit: int | None = None
        self._warnings = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._limit, self._warnings = Image.MAX_IMAGE_PIXELS, warnings.catch_warnings()
                self._warnings.__enter__()
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2  # it warns from here on, and refuses more than twice as many
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                Image.MAX_IMAGE_PIXELS = self._limit
                self._warnings.__exit__(None, None, None)


GUARD = _Guard()


def decode(source: str | os.PathLike | bytes, at_least: int | None = None, name: str | None = None) -> Image.Image:
    """Decode a photo to upright RGB; alpha is laid over white, 16 bits are brought to 8.

    Args:
        source: a path, or the bytes of the file.
        at_least: a JPEG may be decoded at a reduced scale whose shorter side is at least this, in pixels. It is faster, and
            enough for a thumbnail and for "squash"; "center_crop" would read other pixels.
        name: what errors call the photo.

    Raises:
        UnreadableImage: with the reason `missing`, `unreadable`, `empty`, `not_an_image`, `too_large` or `damaged`.
    """
    return decode_sized(source, at_least, name)[0]


def decode_sized(
    source: str | os.PathLike | bytes, at_least: int | None = None, name: str | None = None
) -> tuple[Image.Image, tuple[int, int]]:
    """Decode a photo as `decode` does; gives also the (width, height) of the whole upright photo, in pixels."""
    name = name or ("the uploaded photo" if isinstance(source, bytes) else str(source))
    with GUARD, _opened(source, name) as image:
        full = image.size
        try:
            if at_least and image.format == "JPEG":
                image.draft("RGB", (at_least, at_least))
            drafted = image.size
            upright = _upright(image)
            return _rgb(upright), full if upright.size == drafted else (full[1], full[0])
        except Exception as error:  # Pillow's decoders fail in any way on what is damaged
            raise UnreadableImage("damaged", f"{name} is damaged ({_one_line(error)}); replace the file.") from error


def prepare(image: Image.Image, size: int, preprocessing: str = "squash") -> np.ndarray:
    """Make an RGB image into the square that a network reads.

    "squash" scales the whole photo, bicubic with antialiasing. "center_crop", of OPT-v2 (OPT specification, 2.3), takes the
    middle square of the photo, its shorter side scaled to `size` WITHOUT antialiasing. It reads four pixels for each that it
    makes, so the photo must have been decoded in full. "resize_crop", of OPT-v1 (2.2), takes the same square by Pillow's
    bilinear filter, which has antialiasing.

    Returns:
        uint8 [size, size, 3].
    """
    if preprocessing == "center_crop":
        return _center_crop(np.asarray(image), size)
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


def _opened(source: str | os.PathLike | bytes, name: str) -> Image.Image:
    try:
        data = source if isinstance(source, bytes) else Path(source)
        if (len(data) if isinstance(data, bytes) else data.stat().st_size) == 0:
            raise UnreadableImage("empty", f"{name} is empty; replace the file.")
        return Image.open(io.BytesIO(data) if isinstance(data, bytes) else data, formats=FORMATS)
    except FileNotFoundError as error:
        raise UnreadableImage("missing", f"{name} does not exist; check the path.") from error
    except UnidentifiedImageError as error:
        raise UnreadableImage("not_an_image", f"{name} is not an image that can be read ({READABLE} can).") from error
    except Image.DecompressionBombError as error:
        raise UnreadableImage(
            "too_large", f"{name} has more than the {MAX_PIXELS // 10**6} million pixels that are read; scale it down."
        ) from error
    except UnreadableImage:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno:
            raise UnreadableImage("unreadable", f"{name} cannot be read ({error.strerror}).") from error
        raise UnreadableImage("damaged", f"{name} is damaged ({_one_line(error)}); replace the file.") from error


def _upright(image: Image.Image) -> Image.Image:
    image.load()
    try:
        return ImageOps.exif_transpose(image)
    except Exception:
        return image  # broken EXIF doesn't make the pixels wrong


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image, dtype=np.float64)
        largest = 255.0 if values.max(initial=0) <= 255 else 65535.0
        return Image.fromarray((np.clip(values / largest, 0, 1) * 255).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
