"""A collection of any size, made by a seeded generator and written by the storage that real ones are written by."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from storage import CaptionRecord, Collection, Home, ImageRecord

SEGMENT = 4096
COPIES_OF_VECTORS = 6
"""How often an image's numbers are on disk beside its tokens: image, caption, both indexes, and the old ones while they are
swapped."""
SAFETY = 1.1


def bytes_needed(count: int, config) -> int:
    """What `write_collection` takes on disk at the most."""
    length, width = config.token_shape
    return int(SAFETY * count * 2 * (length * width + COPIES_OF_VECTORS * config.dim))


def free_bytes(folder: Path) -> int:
    """What is free where the folder is."""
    return shutil.disk_usage(folder).free


def write_collection(folder: Path, encoder, count: int, seed: int = 0) -> Collection:
    """`count` images of one caption each: random unit vectors, all different, and random tokens of the model's shape.

    The tokens of a segment are the same 4,096 in another order: every byte of them is on disk, and only their content
    comes again.
    """
    rng, config = np.random.default_rng(seed), encoder.config
    tokens = rng.standard_normal((min(SEGMENT, count), *config.token_shape), np.float32).astype(np.float16)
    collection = Home(folder).create_collection("synthetic")
    with collection.writer(encoder.fingerprint) as writer:
        for start in range(0, count, SEGMENT):
            size = min(SEGMENT, count - start)
            ids = [writer.new_image_id() for _ in range(size)]
            segment = writer.begin_segment(config.dim, config.token_shape)
            segment.add_images(
                [_image(own) for own in ids],
                unit_vectors(rng, size, config.dim),
                tokens[rng.permutation(len(tokens))[:size]],
                [THUMBNAIL] * size,
            )
            captions = [CaptionRecord(writer.new_caption_id(), own, "en", f"photo number {own}", "synthetic") for own in ids]
            segment.add_captions(captions, unit_vectors(rng, size, config.dim))
            segment.finish()
        writer.publish()
    return collection


def unit_vectors(rng: np.random.Generator, count: int, dim: int) -> np.ndarray:
    """float32 [count, dim], in no direction more than in another."""
    vectors = rng.standard_normal((count, dim), np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _image(own: int) -> ImageRecord:
    return ImageRecord(own, f"/synthetic/{own}.jpg", f"{own:064x}", 640, 480, 100_000, "/synthetic", {"number": own})


def _thumbnail() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 24), (90, 120, 150)).save(buffer, "JPEG")
    return buffer.getvalue()


THUMBNAIL = _thumbnail()
