"""What a network reads of an image: pixels, a detector's regions, or what two networks read. Never imports mindspore.

What one image gives is a numpy array; `np.stack` of several is what `encode_images` takes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from encoder.errors import UnreadableImage
from encoder.inputs.pixels import decode, prepare
from encoder.inputs.regions import ENDING, GEOMETRY, Regions, read_regions, rows_of, sketch


@dataclass(frozen=True)
class Files:
    """Where an image lies: its photo, a detector's features of it (`.npz`), or both."""

    photo: str | None
    features: str | None

    @property
    def all(self) -> list[str]:
        """Those that there are."""
        return [path for path in (self.photo, self.features) if path is not None]


def features_in(metadata: dict) -> str | None:
    """Where a detector's features of a photo lie, by what is recorded of it."""
    features = metadata.get("features")
    return features if isinstance(features, str) and features.lower().endswith(ENDING) else None


def files_of(uri: str, features: str | None, inputs: ImageInput) -> Files:
    """The files of an image that a network reads, and the photo to show: its uri is its photo, or its features alone."""
    if uri.lower().endswith(ENDING):
        return Files(None, uri)
    return Files(uri, features if inputs.region_width else None)


@dataclass(frozen=True, eq=False)
class LoadedImage:
    """What was read of an image: the photo, the regions, or both."""

    photo: Image.Image | None
    regions: Regions | None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the photo, upright; as the detector saw it where the photo isn't there."""
        return self.photo.size if self.photo is not None else (self.regions.width, self.regions.height)

    def picture(self) -> Image.Image:
        """Something to show: the photo, or where the regions lie."""
        return self.photo if self.photo is not None else sketch(self.regions)


@dataclass(frozen=True)
class PixelInput:
    """Pixels uint8 [S, S, 3], as `pixels.prepare` makes them."""

    size: int
    preprocessing: str = "squash"
    takes_photo = True
    region_width = 0

    @property
    def dtype(self) -> np.dtype:
        """Of an image's array."""
        return np.dtype(np.uint8)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of an image's array."""
        return self.size, self.size, 3

    @property
    def reduced_to(self) -> int | None:
        """The shorter side that a photo may be decoded down to; None where other pixels would be seen then."""
        return self.size if self.preprocessing == "squash" else None

    def make(self, seen: LoadedImage) -> np.ndarray:
        """An image's array."""
        return prepare(seen.photo, self.size, self.preprocessing)


@dataclass(frozen=True)
class RegionInput:
    """Rows float32 [R, F + 8], as `regions.rows_of` makes them; F is `region_width`."""

    count: int
    region_width: int
    takes_photo = False
    reduced_to = None

    @property
    def dtype(self) -> np.dtype:
        """Of an image's array."""
        return np.dtype(np.float32)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of an image's array."""
        return self.count, self.region_width + GEOMETRY + 1

    def make(self, seen: LoadedImage) -> np.ndarray:
        """An image's array."""
        return rows_of(seen.regions, self.count)


@dataclass(frozen=True)
class PairInput:
    """A record of what two networks read, with the fields `first` and `second`."""

    first: PixelInput | RegionInput
    second: PixelInput | RegionInput

    @property
    def takes_photo(self) -> bool:
        """Whether either needs the photo."""
        return self.first.takes_photo or self.second.takes_photo

    @property
    def region_width(self) -> int:
        """The width of a region's features, 0 where neither reads any."""
        return self.first.region_width or self.second.region_width

    @property
    def reduced_to(self) -> int | None:
        """As PixelInput's, so that it is enough for both."""
        sides = self.first.reduced_to, self.second.reduced_to
        return None if None in sides else max(sides)

    @property
    def dtype(self) -> np.dtype:
        """Of an image's array."""
        return np.dtype([(name, one.dtype, one.shape) for name, one in (("first", self.first), ("second", self.second))])

    @property
    def shape(self) -> tuple[int, ...]:
        """Of an image's array."""
        return ()

    def make(self, seen: LoadedImage) -> np.ndarray:
        """An image's array."""
        out = np.zeros((), self.dtype)
        out["first"], out["second"] = self.first.make(seen), self.second.make(seen)
        return out


ImageInput = PixelInput | RegionInput | PairInput


def check(files: Files, inputs: ImageInput) -> None:
    """Raise UnreadableImage (`no_photo`, `no_features`), in one line, where there isn't what the network needs."""
    if inputs.takes_photo and files.photo is None:
        raise UnreadableImage(
            "no_photo",
            f"{files.features} holds a detector's features, and the model reads photos: lay the "
            "photo of the same name beside it, or choose a model that reads features.",
        )
    if inputs.region_width and files.features is None:
        raise UnreadableImage(
            "no_features",
            f"{files.photo} is a photo, and the model reads a detector's features: lay the "
            ".npz of the same name beside it, or choose a model that reads photos.",
        )


def load_image(files: Files, inputs: ImageInput) -> LoadedImage:
    """Read what there is of an image and the network can read; raises UnreadableImage."""
    check(files, inputs)
    regions = read_regions(files.features, inputs.region_width) if inputs.region_width else None
    return LoadedImage(decode(files.photo) if files.photo is not None else None, regions)
