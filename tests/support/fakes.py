"""Stand-ins that are quick and give the same numbers everywhere."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from encoder.api import EncodedTexts, ImageEncodings, TextEncodings
from encoder.errors import NoAttention
from encoder.inputs.image_inputs import ImageInput, PixelInput
from encoder.query_bank import QueryBank

COLOURS = {
    "red": (220, 30, 30),
    "green": (30, 200, 40),
    "blue": (30, 60, 220),
    "yellow": (230, 220, 40),
    "white": (250, 250, 250),
    "black": (5, 5, 5),
    "红": (220, 30, 30),
    "绿": (30, 200, 40),
    "蓝": (30, 60, 220),
    "黄": (230, 220, 40),
    "白": (250, 250, 250),
    "黑": (5, 5, 5),
}


@dataclass(frozen=True)
class FakeConfig:
    name: str = "fake"
    dim: int = 16
    token_shape: tuple[int, int] = (4, 8)
    token_grid: tuple[int, int] | None = (1, 3)
    first_stage_weight: float = 1.0
    match_calibration: tuple[float, ...] | None = None
    hub_weights: tuple[float, float] = (0.0, 0.0)
    hub_sharpness: float = 20.0
    image_size: int = 32
    preprocessing: str = "squash"
    languages: tuple[str, ...] = ("en", "zh")

    @property
    def inputs(self) -> ImageInput:
        return PixelInput(self.image_size, self.preprocessing)


class FakeVocabulary:
    """Has every word as a whole, but no emoji."""

    def has_word(self, word: str) -> bool:
        return True

    def unknown_in(self, text: str) -> tuple[list[str], bool]:
        unknown = [character for character in text if character >= "\U0001f000"]
        return unknown, bool(unknown) and not any(character.isalnum() for character in text)


class FakeEncoder:
    """Finds photos by their mean colour: a text's vector is that of the colour it names, in English or in Chinese.

    Texts that name no colour get a vector from their hash. Every call is recorded in `calls` as (name, n).
    """

    device = "CPU"
    match_batches: tuple[int, ...] = (8, 32)
    vocabulary = FakeVocabulary()

    def __init__(
        self,
        fingerprint: str = "fake000000000001",
        config: FakeConfig | None = None,
        query_bank: QueryBank | None = None,
    ):
        self.fingerprint, self.config, self.query_bank = fingerprint, config or FakeConfig(), query_bank
        self.calls: list[tuple[str, int]] = []
        self.on_batch: Callable[[str, int], None] = lambda kind, rows: None

    def encode_images(self, images: np.ndarray) -> ImageEncodings:
        self.calls.append(("encode_images", len(images)))
        size = self.config.image_size
        assert images.dtype == np.uint8 and images.shape[1:] == (size, size, 3)
        colours = images.reshape(len(images), -1, 3).mean(axis=1)
        tokens = np.zeros((len(images), *self.config.token_shape), np.float16)
        tokens[:, :, :3] = (colours / 255)[:, None, :]
        return ImageEncodings(self._vectors(colours), tokens)

    def encode_texts(self, texts: list[str]) -> EncodedTexts:
        self.calls.append(("encode_texts", len(texts)))
        colours = np.array([_colour_of(text) for text in texts], np.float64).reshape(-1, 3)
        width = self.config.token_shape[1]
        states = np.zeros((len(texts), 3, width), np.float32)
        states[:, 0, :3] = colours / 255
        return EncodedTexts(self._vectors(colours), states, np.full(len(texts), 3, np.int32))

    def match(self, texts: TextEncodings, tokens: np.ndarray) -> np.ndarray:
        """High where the text's colour is the photo's: minus ten times the distance of the colours."""
        if len(texts) != len(tokens) and 1 not in (len(texts), len(tokens)):
            raise ValueError(f"{len(texts)} texts cannot be paired with {len(tokens)} images")
        self.calls.append(("match", max(len(texts), len(tokens))))
        differences = texts.states[:, 0, :3] - tokens[:, 0, :3].astype(np.float64)
        return (-10 * np.linalg.norm(differences, axis=1)).astype(np.float32)

    def explain(self, texts: TextEncodings, tokens: np.ndarray) -> np.ndarray:
        """One layer in which text token t takes most of image token t."""
        if self.config.token_grid is None:
            raise NoAttention(self.config.name)
        count = max(len(texts), len(tokens))
        self.calls.append(("explain", count))
        length, width = texts.states.shape[1], tokens.shape[1]
        weights = np.ones((length, width), np.float32) + np.eye(length, width, dtype=np.float32)
        return np.tile(weights / weights.sum(1, keepdims=True), (count, 1, 1, 1))

    def spans(self, text: str) -> list[tuple[int, int]]:
        """A mark, the first word, a mark."""
        return [(0, 0), (0, len(text.split()[0])), (0, 0)]

    def warm_up(self, images: bool = True) -> None:
        self.calls.append(("warm_up" if images else "warm_up_for_sentences", 0))

    def _vectors(self, colours: np.ndarray) -> np.ndarray:
        """Unit vectors [n, dim] that are near each other where colours are."""
        mixer = np.random.default_rng(7).standard_normal((4, self.config.dim))
        centred = np.hstack([colours / 127.5 - 1, np.full((len(colours), 1), 0.1)])
        vectors = centred @ mixer
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def _colour_of(text: str) -> tuple[int, int, int]:
    for name, colour in COLOURS.items():
        if name in text.lower():
            return colour
    red, green, blue = hashlib.sha256(text.encode()).digest()[:3]
    return red, green, blue


def photo(colour: str | tuple[int, int, int] = "red", size: tuple[int, int] = (48, 32)) -> Image.Image:
    """A photo of one colour; `size` is (width, height)."""
    return Image.new("RGB", size, COLOURS.get(colour, colour) if isinstance(colour, str) else colour)


def save_photo(path: Path, colour: str | tuple[int, int, int] = "red", size: tuple[int, int] = (48, 32)) -> Path:
    """Write such a photo in the format of the path's suffix; gives the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    photo(colour, size).save(path)
    return path


def jpeg(colour: str | tuple[int, int, int] = "red", size: tuple[int, int] = (48, 32)) -> bytes:
    """Such a photo as a JPEG file."""
    buffer = io.BytesIO()
    photo(colour, size).save(buffer, "JPEG")
    return buffer.getvalue()
