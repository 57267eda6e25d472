"""A stand-in for a model that reads a detector's regions: a region's first three features are its colour."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from encoder.api import ImageEncodings
from encoder.inputs.image_inputs import ImageInput, RegionInput
from tests.support.fakes import COLOURS, FakeConfig, FakeEncoder

WIDTH = 8


@dataclass(frozen=True)
class FakeRegionConfig(FakeConfig):
    name: str = "fake-regions"
    token_grid: tuple[int, int] | None = None

    @property
    def inputs(self) -> ImageInput:
        return RegionInput(6, WIDTH)


class FakeRegionEncoder(FakeEncoder):
    """Finds images by the mean colour of their regions; all else is FakeEncoder's."""

    def __init__(self, fingerprint: str = "fake000000000002", config: FakeConfig | None = None):
        super().__init__(fingerprint, config or FakeRegionConfig())

    def encode_images(self, images: np.ndarray) -> ImageEncodings:
        self.calls.append(("encode_images", len(images)))
        assert images.dtype == np.float32 and images.shape[1:] == self.config.inputs.shape
        colours = images[:, :, :3].sum(1) / images[:, :, -1:].sum(1)
        tokens = np.zeros((len(images), *self.config.token_shape), np.float16)
        tokens[:, :, :3] = (colours / 255)[:, None, :]
        return ImageEncodings(self._vectors(colours), tokens)


def save_features(
    path: Path, colour: str = "red", count: int = 4, size: tuple[int, int] = (48, 32), **changes: ArrayLike | None
) -> Path:
    """Write a detector's features of a photo of one colour, by the model zoo's names.

    `changes` replace arrays; None leaves one out.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    features = np.zeros((count, WIDTH), np.float32)
    features[:, :3] = COLOURS[colour]
    step = np.arange(count, dtype=np.float32)[:, None]
    boxes = np.hstack([step, step, step + 10, step + 8])
    arrays: dict[str, ArrayLike | None] = {
        "feat": features,
        "pred_boxes": boxes,
        "scores": np.ones(count),
        "width": np.array(size[0]),
        "height": np.array(size[1]),
    } | changes
    with path.open("wb") as file:
        np.savez(file, **{name: value for name, value in arrays.items() if value is not None})
    return path
