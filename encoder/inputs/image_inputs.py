"""What a network reads of an image: pixels, a detector's regions, or what two networks read. Never imports mindspore.

An input makes one numpy array of an image; `np.stack` of several arrays is what `encode_images` takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image

from encoder.errors import UnreadableImage
from encoder.inputs.pixels import decode, prepare
from encoder.inputs.regions import ENDING, GEOMETRY, Regions, read_regions, rows_of, sketch


@dataclass(frozen=True)
class Files:
    """The paths of an image's photo and of a detector's features of it (`.npz`); one may be missing."""

    photo: str | None
    features: str | None

    @property
    def all(self) -> list[str]:
        """The paths that are not missing."""
        return [path for path in (self.photo, self.features) if path is not None]


def features_in(metadata: Mapping[str, object]) -> str | None:
    """The path of a detector's features in a photo's metadata; None if there is none."""
    features = metadata.get("features")
    return features if isinstance(features, str) and features.lower().endswith(ENDING) else None


def files_of(uri: str, features: str | None, inputs: ImageInput) -> Files:
    """The files of an image that a network reads, and the photo to show.

    Args:
        uri: the path of the photo, or of features without a photo.
        features: the path of features beside a photo, if there are any.
        inputs: what the network reads.
    """
    if uri.lower().endswith(ENDING):
        return Files(None, uri)
    return Files(uri, features if inputs.region_width else None)


@dataclass(frozen=True, eq=False)
class LoadedImage:
    """An image in memory: its photo, its regions, or both."""

    photo: Image.Image | None
    regions: Regions | None

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels of the upright photo or, without a photo, of what the detector saw."""
        if self.photo is not None:
            return self.photo.size
        regions = self._regions()
        return regions.width, regions.height

    def picture(self) -> Image.Image:
        """A picture to show: the photo or, without a photo, a sketch of the regions."""
        return self.photo if self.photo is not None else sketch(self._regions())

    def _regions(self) -> Regions:
        assert self.regions is not None, "an image has a photo, regions, or both"
        return self.regions


@dataclass(frozen=True)
class PixelInput:
    """Pixels uint8 [S, S, 3], as `pixels.prepare` makes them.

    Attributes:
        size: S.
        preprocessing: one of `pixels.PREPROCESSINGS`.
        takes_photo: True if the network needs the photo.
        region_width: the numbers in a region's features; 0: no regions are read.
    """

    size: int
    preprocessing: str = "squash"
    takes_photo = True
    region_width = 0

    @property
    def dtype(self) -> np.dtype:
        """The dtype of an image\'s array."""
        return np.dtype(np.uint8)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of an image\'s array."""
        return self.size, self.size, 3

    @property
    def reduced_to(self) -> int | None:
        """The shorter side in pixels to which a photo may be decoded; None if it must be decoded in full."""
        return self.size if self.preprocessing == "squash" else None

    def make(self, image: LoadedImage) -> np.ndarray:
        """Make the array of an image."""
        assert image.photo is not None, "`check` refuses an image without a photo"
        return prepare(image.photo, self.size, self.preprocessing)


@dataclass(frozen=True)
class RegionInput:
    """Rows float32 [R, F + 8], as `regions.rows_of` makes them.

    Attributes:
        count: R.
        region_width: F.
    """

    count: int
    region_width: int
    takes_photo = False
    reduced_to = None

    @property
    def dtype(self) -> np.dtype:
        """The dtype of an image\'s array."""
        return np.dtype(np.float32)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of an image\'s array."""
        return self.count, self.region_width + GEOMETRY + 1

    def make(self, image: LoadedImage) -> np.ndarray:
        """Make the array of an image."""
        assert image.regions is not None, "`check` refuses an image without features"
        return rows_of(image.regions, self.count)


@dataclass(frozen=True)
class PairInput:
    """A numpy record of what two networks read, with the fields `first` and `second`."""

    first: ImageInput
    second: ImageInput

    @property
    def takes_photo(self) -> bool:
        """True if either network needs the photo."""
        return self.first.takes_photo or self.second.takes_photo

    @property
    def region_width(self) -> int:
        """The numbers in a region's features; 0 if neither network reads regions."""
        return self.first.region_width or self.second.region_width

    @property
    def reduced_to(self) -> int | None:
        """The shorter side in pixels that is enough for both networks; None if one needs the photo in full."""
        first, second = self.first.reduced_to, self.second.reduced_to
        return None if first is None or second is None else max(first, second)

    @property
    def dtype(self) -> np.dtype:
        """The dtype of an image\'s array."""
        return np.dtype([(name, one.dtype, one.shape) for name, one in (("first", self.first), ("second", self.second))])

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of an image\'s array."""
        return ()

    def make(self, image: LoadedImage) -> np.ndarray:
        """Make the record of an image."""
        out = np.zeros((), self.dtype)
        out["first"], out["second"] = self.first.make(image), self.second.make(image)
        return out


ImageInput = PixelInput | RegionInput | PairInput


def check(files: Files, inputs: ImageInput) -> None:
    """Check that an image has the files that the network needs.

    Raises:
        UnreadableImage: the photo or the features are missing (`no_photo`, `no_features`).
    """
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
    """Read the photo of an image, and its regions if the network reads them.

    Raises:
        UnreadableImage: a file is missing or can't be read.
    """
    check(files, inputs)
    regions = read_regions(files.features, inputs.region_width) if files.features is not None and inputs.region_width else None
    return LoadedImage(decode(files.photo) if files.photo is not None else None, regions)
