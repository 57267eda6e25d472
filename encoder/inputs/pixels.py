"""From a file to upright RGB pixels and on to the square the image stream takes. Never imports mindspore."""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path
from threading import Lock

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from encoder.errors import UnreadableImage

PREPROCESSINGS = ("squash", "center_crop", "resize_crop")
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
MAX_PIXELS = 200_000_000


class _Guard:
    """Pillow's guard against decompression bombs, which is one for the whole process, with MAX_PIXELS as its limit while any
    thread is inside; as it was when the last one has left. What it refuses is refused before memory is taken for it."""

    def __init__(self) -> None:
        self._lock, self._inside = Lock(), 0
        self._limit: int | None = None
        self._warnings: warnings.catch_warnings | None = None

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._limit, self._warnings = Image.MAX_IMAGE_PIXELS, warnings.catch_warnings()
                self._warnings.__enter__()
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2  # it warns from here on, and refuses more than twice as many
            self._inside += 1

    def __exit__(self, *_) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                Image.MAX_IMAGE_PIXELS = self._limit
                self._warnings.__exit__(None, None, None)


GUARD = _Guard()


def decode(source: str | os.PathLike | bytes, at_least: int | None = None, name: str | None = None) -> Image.Image:
    """Decode a photo to upright RGB; alpha is laid over white, 16 bits are brought to 8.

    `at_least` lets a JPEG decode at a reduced scale whose shorter side is still that many pixels: faster, and
    enough for a thumbnail or for what is squashed, but "center_crop" would see other pixels. `name` is what errors call
    the photo. Raises UnreadableImage with a reason code (`missing`, `unreadable`, `empty`, `not_an_image`, `too_large`,
    `damaged`).
    """
    return decode_sized(source, at_least, name)[0]


def decode_sized(
    source: str | os.PathLike | bytes, at_least: int | None = None, name: str | None = None
) -> tuple[Image.Image, tuple[int, int]]:
    """As `decode`; and (width, height) of the photo in full, upright."""
    name = name or ("the uploaded photo" if isinstance(source, bytes) else str(source))
    with GUARD, _opened(source, name) as image:
        full = image.size
        try:
            if at_least and image.format == "JPEG":
                image.draft("RGB", (at_least, at_least))
            drafted = image.size
            upright = _upright(image)
            return _rgb(upright), full if upright.size == drafted else full[::-1]
        except Exception as error:  # Pillow's decoders fail in any way on what is damaged
            raise UnreadableImage("damaged", f"{name} is damaged ({_one_line(error)}); replace the file.") from error


def prepare(image: Image.Image, size: int, preprocessing: str = "squash") -> np.ndarray:
    """An RGB image as the square the network takes, uint8 [size, size, 3].

    "squash" takes the whole photo, bicubic with antialiasing. "center_crop" is what OPT-v2 was published with (OPT
    specification, 2.3): the middle square of the photo, its shorter side brought to `size` WITHOUT antialiasing. It reads
    four pixels for each that it makes, so the photo must have been decoded in full. "resize_crop" is what OPT-v1 was
    published with (2.2): the same square by Pillow's bilinear, which has antialiasing.
    """
    if preprocessing == "center_crop":
        return _center_crop(np.asarray(image), size)
    if preprocessing == "resize_crop":
        return _resize_crop(image, size)
    return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC), dtype=np.uint8)


def _center_crop(image: np.ndarray, size: int) -> np.ndarray:
    """uint8 [h, w, 3] -> [size, size, 3], bilinear with half-pixel centres."""
    short = min(image.shape[:2])
    (top, bottom, down), (left, right, across) = (_neighbours(side, side * size // short, size) for side in image.shape[:2])
    across, down = across[None, :, None], down[:, None, None]
    above, below = (image[rows][:, left] * (1 - across) + image[rows][:, right] * across for rows in (top, bottom))
    return np.floor(above * (1 - down) + below * down + 0.5).astype(np.uint8)


def _resize_crop(image: Image.Image, size: int) -> np.ndarray:
    """The middle of what `image` would be when resized, without making the rest: a panorama's would not fit the memory."""
    scaled = [side * size // min(image.size) for side in image.size]
    starts = [(length - size) // 2 for length in scaled]
    ends = [(start + size, start) for start in starts]
    (right, left), (bottom, top) = (
        [place * side / length for place in pair] for pair, side, length in zip(ends, image.size, scaled, strict=True)
    )
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR, box=(left, top, right, bottom)), dtype=np.uint8)


def _neighbours(side: int, scaled: int, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For the middle `size` places of a side brought to `scaled`: the pixel before, the one after, and its share."""
    places = (scaled - size) // 2 + np.arange(size)
    at = np.clip((places + 0.5) * (side / scaled) - 0.5, 0, side - 1)
    before = at.astype(np.intp)
    return before, np.minimum(before + 1, side - 1), (at - before).astype(np.float32)


def _opened(source, name: str) -> Image.Image:
    try:
        data = source if isinstance(source, bytes) else Path(source)
        if (len(data) if isinstance(data, bytes) else data.stat().st_size) == 0:
            raise UnreadableImage("empty", f"{name} is empty; replace the file.")
        return Image.open(io.BytesIO(data) if isinstance(data, bytes) else data, formats=FORMATS)
    except FileNotFoundError as error:
        raise UnreadableImage("missing", f"{name} does not exist; check the path.") from error
    except UnidentifiedImageError as error:
        raise UnreadableImage(
            "not_an_image", f"{name} is not an image that can be read (JPEG, PNG, WebP, GIF, BMP and TIFF can)."
        ) from error
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
        return image  # broken EXIF says nothing of the pixels


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image, dtype=np.float64)
        top = 255.0 if values.max(initial=0) <= 255 else 65535.0
        return Image.fromarray((np.clip(values / top, 0, 1) * 255).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
