"""Brings a decoded picture to sRGB in 8 bits: its colour profile is applied, its transparency laid over white."""

from __future__ import annotations

import io
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from encoder.inputs.samples import check_visible

if TYPE_CHECKING:
    from PIL.ImageCms import ImageCmsTransform

SAME_WITHIN = 2
"""A profile that changes no colour by more than so many of 255 levels is sRGB's own."""
_SPACES = {"L": b"GRAY", "RGB": b"RGB ", "CMYK": b"CMYK"}
"""How a profile names the colours of a picture of each mode, in its bytes 16 to 19."""


def to_srgb(image: Image.Image) -> Image.Image:
    """Bring a picture to RGB in sRGB.

    Args:
        image: of any mode in which a sample has 8 bits, or 16 bits of grey with white at 65,535. `info` may hold its profile.

    Raises:
        Unsupported: its 16 bits would be all black, although they differ.
    """
    if image.mode.startswith("I;16"):
        image = _in_8_bits(image)
    if image.mode == "LAB":
        return _lab_transform().apply(image)
    alpha = _alpha(image)
    if alpha is not None or image.mode not in _SPACES:
        opaque = image.convert("RGBA").convert("RGB") if alpha is not None else image.convert("RGB")
        opaque.info["icc_profile"] = image.info.get("icc_profile")
        image = opaque
    image = _colours_applied(image)
    image.info.pop("icc_profile", None)  # it is not this picture's any more
    return image if alpha is None else Image.composite(image, Image.new("RGB", image.size, "white"), alpha)


def _alpha(image: Image.Image) -> Image.Image | None:
    """How opaque each pixel is; None if all of them are."""
    if image.mode not in ("RGBA", "LA", "PA", "RGBa", "La") and "transparency" not in image.info:
        return None
    return image.convert("RGBA").getchannel("A")


def _colours_applied(image: Image.Image) -> Image.Image:
    profile = image.info.get("icc_profile")
    transform = _transform(profile, image.mode) if isinstance(profile, bytes) and profile else None
    return image.convert("RGB") if transform is None else transform.apply(image)


def _in_8_bits(image: Image.Image) -> Image.Image:
    values = np.asarray(image)
    scaled = (values >> 8).astype(np.uint8)
    check_visible(values, scaled)
    grey = Image.fromarray(scaled)
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        grey = Image.merge("LA", (grey, Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8))))
    grey.info["icc_profile"] = image.info.get("icc_profile")
    return grey


@lru_cache(maxsize=16)
def _transform(profile: bytes, mode: str) -> ImageCmsTransform | None:
    """From a profile's colours to sRGB; None if it is sRGB, broken, or of another kind of picture."""
    if profile[16:20] != _SPACES[mode]:
        return None
    from PIL import ImageCms

    try:
        own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        transform = ImageCms.buildTransform(
            own, ImageCms.createProfile("sRGB"), mode, "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC, ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )  # fmt: skip
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
    return None if mode != "CMYK" and _changes_nothing(transform, mode) else transform


def _changes_nothing(transform: ImageCmsTransform, mode: str) -> bool:
    levels = range(0, 256, 17)
    colours = [(level,) for level in range(256)] if mode == "L" else list(product(levels, repeat=3))
    grid = np.array(colours, np.uint8)[None]
    probe = Image.fromarray(grid[..., 0] if mode == "L" else grid)
    before, after = (np.asarray(one.convert("RGB"), dtype=np.int16) for one in (probe, transform.apply(probe)))
    return bool(np.abs(after - before).max() <= SAME_WITHIN)


@lru_cache(maxsize=1)
def _lab_transform() -> ImageCmsTransform:
    from PIL import ImageCms

    return ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")
