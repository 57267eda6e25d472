"""Measures which altered copies of a photo count as near-duplicates: their cosines to the original, and those of other photos.

    python -m benchmarks.duplicates FOLDER [N]

Takes the first N (64) JPEG files of FOLDER and the shipped weights.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from encoder import open_encoder
from encoder.inputs.pixels import decode, prepare
from encoder.model_folder import SHIPPED


def smaller(image: Image.Image) -> Image.Image:
    """The image at half the size, saved as a JPEG of quality 60."""
    buffer = io.BytesIO()
    image.resize((image.width // 2, image.height // 2)).save(buffer, "JPEG", quality=60)
    return decode(buffer.getvalue())


def cropped(image: Image.Image, share: float) -> Image.Image:
    """The image without that share of width and height at every side."""
    return ImageOps.crop(image, (int(image.width * share), int(image.height * share)) * 2)


COPIES = {
    "half the size, JPEG quality 60": smaller,
    "5 % cut off every side": lambda image: cropped(image, 0.05),
    "10 % cut off every side": lambda image: cropped(image, 0.1),
    "30 % brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.3),
    "mirrored": ImageOps.mirror,
    "in grey": lambda image: image.convert("L").convert("RGB"),
}


def main(folder: Path, count: int) -> None:
    """Print a line for each kind of copy."""
    encoder = open_encoder(SHIPPED)
    images = [decode(path) for path in sorted(folder.glob("*.jpg"))[:count]]

    def vectors(pictures: list[Image.Image]) -> np.ndarray:
        config = encoder.config
        return encoder.encode_images(
            np.stack([prepare(one, config.image_size, config.preprocessing) for one in pictures])
        ).vectors

    originals = vectors(images)
    for name, copy in COPIES.items():
        print_row(name, (vectors([copy(image) for image in images]) * originals).sum(axis=1))
    cosines = originals @ originals.T
    np.fill_diagonal(cosines, -1)
    print_row("the nearest of the others", cosines.max(axis=1))


def print_row(name: str, cosines: np.ndarray) -> None:
    """Print one line of the table."""
    low, median, high = np.percentile(cosines, [5, 50, 95])
    print(f"{name:32} 5 % {low:.3f}  median {median:.3f}  95 % {high:.3f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 64)
