"""Writes a synthetic collection of any size with the real storage code, from a seeded generator."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from encoder.api import BulkEncoder, EncoderConfig
from storage import CaptionRecord, Collection, Home, ImageRecord

SEGMENT = 4096
COPIES_OF_VECTORS = 6
"""The vectors on disk for each image: image, caption, both indexes, and both old indexes while they are replaced."""
SAFETY = 1.1


def bytes_needed(count: int, config: EncoderConfig) -> int:
    """The most bytes that `write_collection` takes on disk."""
    length, width = config.token_shape
    return int(SAFETY * count * 2 * (length * width + COPIES_OF_VECTORS * config.dim))


def free_bytes(folder: Path) -> int:
    """The free bytes on the folder's disk."""
    return shutil.disk_usage(folder).free


def write_collection(folder: Path, encoder: BulkEncoder, count: int, seed: int = 0) -> Collection:
    """Write `count` images with one caption each: different random unit vectors, and random tokens of the model's shape.

    Each segment has the same 4,096 images' tokens in another order, so that all bytes are on disk and only contents repeat.
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
    """Random unit vectors float32 [count, dim], uniform in all directions."""
    vectors = rng.standard_normal((count, dim), np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _image(image_id: int) -> ImageRecord:
    return ImageRecord(
        image_id, f"/synthetic/{image_id}.jpg", f"{image_id:064x}", 640, 480, 100_000, "/synthetic", {"number": image_id}
    )


def _thumbnail() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 24), (90, 120, 150)).save(buffer, "JPEG")
    return buffer.getvalue()


THUMBNAIL = _thumbnail()
