"""Records the inputs of a model's graphs on photos and captions, to calibrate 8-bit graphs. Never imports mindspore."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from encoder import open_encoder
from encoder.errors import BadTrainingData
from encoder.inputs.pixels import decode, prepare
from encoder.runtime.encoder import OptEncoder
from encoder.training.dataset import Photo

PHOTOS, TEXTS, TEXTS_IN_BATCH = 64, 256, 8


def feeds_of(folder: Path, photos: Sequence[Photo]) -> dict[str, list[tuple[np.ndarray, ...]]]:
    """Record the inputs of the entries images, texts and match, for up to 64 photos and 256 captions.

    Captions are paired with photos that they fit and with others, as in a search.

    Args:
        folder: the model folder.
        photos: captioned photos; those without captions are left out.

    Returns:
        The arrays of each run, by entry.

    Raises:
        BadTrainingData: the model has no vectors or doesn't read pixels, or no photo has a caption.
    """
    encoder = _open_float32(folder)
    config = encoder.config
    if not config.dim or config.inputs.region_width:
        raise BadTrainingData(f"{config.name} can't be quantized: only models that make vectors of pixels can.")
    photos = [photo for photo in photos if photo.captions][:PHOTOS]
    texts = [text for photo in photos for text in photo.captions][:TEXTS]
    if not texts:
        raise BadTrainingData("There are no captioned photos to learn from.")
    feeds: dict[str, list[tuple[np.ndarray, ...]]] = defaultdict(list)
    run = encoder.graphs.run

    def record(entry: str, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        feeds[entry].append(arrays)
        return run(entry, *arrays)

    encoder.graphs.run = record
    pixels = np.stack([prepare(decode(photo.path), config.image_size, config.preprocessing) for photo in photos])
    tokens = encoder.encode_images(pixels).tokens
    for start in range(0, len(texts), TEXTS_IN_BATCH):
        encoded = encoder.encode_texts(texts[start : start + TEXTS_IN_BATCH])
        encoder.match(encoded, tokens[(start + np.arange(len(encoded))) % len(tokens)])
    return dict(feeds)


def _open_float32(folder: Path) -> OptEncoder:
    """Open the encoder of a model folder in float32, whatever PANOPTES_PRECISION says: calibration needs exact inputs."""
    named = os.environ.pop("PANOPTES_PRECISION", None)
    try:
        return open_encoder(folder, "CPU")
    finally:
        if named is not None:
            os.environ["PANOPTES_PRECISION"] = named
