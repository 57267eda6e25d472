"""What a model's graphs read of photos and captions, to learn how large its activations become. Never imports mindspore."""

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

PHOTOS, TEXTS, TOGETHER = 64, 256, 8


def feeds_of(folder: Path, photos: Sequence[Photo]) -> dict[str, list[tuple[np.ndarray, ...]]]:
    """What the entries images, texts and match are run on, by entry, for up to 64 photos and 256 captions.

    Each caption is paired with a photo that it fits or with another, as at query time. Raises BadTrainingData for a model
    without vectors or pixels, or where there is no photo with a caption.
    """
    encoder = _open_float32(folder)
    config = encoder.config
    if not config.dim or config.inputs.region_width:
        raise BadTrainingData(f"{config.name} can't be quantized: only models that make vectors of pixels can.")
    photos = [photo for photo in photos if photo.captions][:PHOTOS]
    texts = [text for photo in photos for text in photo.captions][:TEXTS]
    if not texts:
        raise BadTrainingData("There are no captioned photos to learn from.")
    feeds = defaultdict(list)
    run = encoder.graphs.run

    def recorded(entry: str, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        feeds[entry].append(arrays)
        return run(entry, *arrays)

    encoder.graphs.run = recorded
    pixels = np.stack([prepare(decode(photo.path), config.image_size, config.preprocessing) for photo in photos])
    tokens = encoder.encode_images(pixels).tokens
    for start in range(0, len(texts), TOGETHER):
        read = encoder.encode_texts(texts[start : start + TOGETHER])
        encoder.match(read, tokens[(start + np.arange(len(read))) % len(tokens)])
    return dict(feeds)


def _open_float32(folder: Path) -> OptEncoder:
    """The encoder of a model folder in float32, whatever PANOPTES_PRECISION says: what is learnt from must be exact."""
    named = os.environ.pop("PANOPTES_PRECISION", None)
    try:
        return open_encoder(folder, "CPU")
    finally:
        if named is not None:
            os.environ["PANOPTES_PRECISION"] = named
