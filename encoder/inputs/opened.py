"""A photo of which the header was read, and not yet the pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image


@dataclass(frozen=True)
class OpenedPhoto:
    """A photo of which the header was read.

    Attributes:
        size: (width, height) of the stored picture in pixels.
        load: decodes it. A JPEG may be decoded at a reduced scale whose shorter side is at least the number given. The picture
            is one that `colour.to_srgb` takes; its `info` has the colour profile, its EXIF how it is turned.
    """

    size: tuple[int, int]
    load: Callable[[int | None], Image.Image]

    @classmethod
    def of(cls, image: Image.Image) -> OpenedPhoto:
        """A photo that Pillow has opened."""

        def load(_: int | None) -> Image.Image:
            image.load()
            return image

        return cls(image.size, load)
