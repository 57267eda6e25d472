"""Measures reduced decoding of JPEGs: `python -m benchmarks.decoding PHOTO...` (default: scikit-image's photographs).

Each photo is scaled to --side pixels on the longer side and saved as JPEG, as cameras do. It is then read as `build-index`
reads it: in full, and reduced to at least so many pixels on the shorter side. Prints photos a second (one core, thumbnail
included), and the cosine of the encoder's vectors of reduced and full pixels. For comparison, it prints the cosine after
saving the photo once more as JPEG, a difference that nobody would notice.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np
from PIL import Image

from encoder import open_encoder
from encoder.api import BulkEncoder
from encoder.inputs.pixels import decode, decode_sized, prepare
from indexer.gallery import sample_gallery
from indexer.photo_loader import make_thumbnail

LIMITS = (None, 1024, 768, 512, 392, 256, 196)


@click.command()
@click.argument("photos", nargs=-1, type=click.Path(path_type=Path, exists=True))
@click.option("--side", default=4000, show_default=True, help="Pixels on the longer side of the photos that are read.")
def main(photos: tuple[Path, ...], side: int) -> None:
    """Measure and print a Markdown table."""
    encoder = open_encoder()
    with tempfile.TemporaryDirectory() as folder:
        paths = _large(photos or _gallery(Path(folder) / "gallery"), Path(folder), side)
        size = encoder.config.image_size
        full = _vectors(encoder, [prepare(decode(path), size) for path in paths])
        again = _vectors(encoder, [prepare(_saved_again(path), size) for path in paths])
        print(f"{len(paths)} photos of {side} pixels; saved once more as JPEG of quality 90: {_cosines(full, again)}\n")
        print("| shorter side at least | photos/s | cosine to full decoding, least and median |\n|---|---|---|")
        for limit in LIMITS:
            started = time.perf_counter()
            pixels = [_read(path, size, limit) for path in paths]
            rate = len(paths) / (time.perf_counter() - started)
            print(f"| {limit or 'full'} | {rate:.1f} | {_cosines(full, _vectors(encoder, pixels))} |")


def _gallery(folder: Path) -> list[Path]:
    sample_gallery(folder)
    return sorted(path for path in folder.iterdir() if path.suffix != ".jsonl")


def _large(photos: Sequence[Path], folder: Path, side: int) -> list[Path]:
    paths = []
    for number, photo in enumerate(photos):
        image = decode(photo)
        scale = side / max(image.size)
        large = image.resize([max(1, round(length * scale)) for length in image.size], Image.Resampling.LANCZOS)
        paths.append(folder / f"{number}.jpg")
        large.save(paths[-1], quality=92)
    return paths


def _saved_again(path: Path) -> Image.Image:
    decode(path).save(path.with_suffix(".again.jpg"), quality=90)
    return decode(path.with_suffix(".again.jpg"))


def _read(path: Path, size: int, limit: int | None) -> np.ndarray:
    image, _ = decode_sized(path, limit)
    make_thumbnail(image)
    return prepare(image, size)


def _vectors(encoder: BulkEncoder, pixels: list[np.ndarray]) -> np.ndarray:
    return encoder.encode_images(np.stack(pixels)).vectors


def _cosines(one: np.ndarray, other: np.ndarray) -> str:
    cosines = (one * other).sum(1)
    return f"{cosines.min():.5f}, {statistics.median(cosines):.5f}"


if __name__ == "__main__":
    main()
