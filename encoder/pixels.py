"""From a file to upright RGB pixels and on to the square the image stream takes. Never imports mindspore."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from encoder.errors import UnreadableImage

MAX_PIXELS = 200_000_000
Image.MAX_IMAGE_PIXELS = None  # the limit above is checked before a pixel is decoded, with a reason of our own


def decode(source: str | os.PathLike | bytes, at_least: int | None = None) -> Image.Image:
    """Decode a photo to upright RGB; alpha is laid over white, 16 bits are brought to 8.

    `at_least` lets a JPEG decode at a reduced scale whose shorter side is still that many pixels: faster, and
    enough for a thumbnail or for the network. Raises UnreadableImage with a reason code (`missing`, `unreadable`,
    `empty`, `not_an_image`, `too_large`, `damaged`).
    """
    name = "the uploaded photo" if isinstance(source, bytes) else str(source)
    with _opened(source, name) as image:
        if image.width * image.height > MAX_PIXELS:
            raise UnreadableImage("too_large", f"{name} has {image.width} x {image.height} pixels, more than the "
                                               f"{MAX_PIXELS // 1_000_000} million that are read; scale it down.")
        if at_least and image.format == "JPEG":
            image.draft("RGB", (at_least, at_least))
        try:
            return _rgb(_upright(image))
        except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
            raise UnreadableImage("damaged", f"{name} is damaged ({_one_line(error)}); replace the file.") from error


def prepare(image: Image.Image, size: int) -> np.ndarray:
    """Squash an RGB image to the square the network takes: uint8 [size, size, 3], bicubic with antialiasing."""
    return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC), dtype=np.uint8)


def _opened(source, name: str) -> Image.Image:
    try:
        data = source if isinstance(source, bytes) else Path(source)
        if (len(data) if isinstance(data, bytes) else data.stat().st_size) == 0:
            raise UnreadableImage("empty", f"{name} is empty; replace the file.")
        return Image.open(io.BytesIO(data) if isinstance(data, bytes) else data)
    except FileNotFoundError as error:
        raise UnreadableImage("missing", f"{name} does not exist; check the path.") from error
    except UnidentifiedImageError as error:
        raise UnreadableImage("not_an_image", f"{name} is not an image that can be read "
                                              "(JPEG, PNG, WebP, GIF, BMP and TIFF can).") from error
    except (OSError, ValueError, SyntaxError) as error:
        raise UnreadableImage("unreadable", f"{name} cannot be read ({_one_line(error)}).") from error


def _upright(image: Image.Image) -> Image.Image:
    image.load()
    try:
        return ImageOps.exif_transpose(image)
    except (OSError, SyntaxError, ValueError, KeyError, TypeError, ZeroDivisionError, OverflowError):
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
