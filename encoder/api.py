"""The port of every encoder: what the other rooms may ask of one.

Several classes have these calls: one model on one device (`runtime.encoder.OptEncoder`), a model that only re-ranks
(`runtime.reranker.Reranker`), two models as one (`runtime.pair.PairedEncoder`) and one model on several devices
(`runtime.multi_device.MultiDeviceEncoder`, which only encodes).

Shapes: n texts or images, D numbers in a vector, L tokens of an image with W numbers each, T tokens of a text, H numbers in
a token's state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from encoder.inputs.image_inputs import ImageInput
from encoder.query_bank import QueryBank


@dataclass(frozen=True, eq=False)
class ImageEncodings:
    """Encodings of n images.

    Attributes:
        vectors: float32 [n, D], of unit length.
        tokens: float16 [n, L, W], what `Encoder.match` reads of each image.
    """

    vectors: np.ndarray
    tokens: np.ndarray


class TextVectors(Protocol):
    """Vectors of n texts: all that an index needs."""

    @property
    def vectors(self) -> np.ndarray:
        """float32 [n, D], of unit length."""
        ...


class TextEncodings(TextVectors, Protocol):
    """Encodings of n texts, as `Encoder.match` reads them."""

    @property
    def states(self) -> np.ndarray:
        """float32 [n, T, H]; what lies beyond a text's own length means nothing."""
        ...

    @property
    def lengths(self) -> np.ndarray:
        """int32 [n], the number of tokens that are not padding."""
        ...

    def __len__(self) -> int: ...


@dataclass(frozen=True, eq=False)
class EncodedTexts:
    """The usual `TextEncodings`: everything was computed at once."""

    vectors: np.ndarray
    states: np.ndarray
    lengths: np.ndarray

    def __len__(self) -> int:
        return len(self.lengths)


class ImageConfig(Protocol):
    """What reading an image needs to know of a model."""

    @property
    def name(self) -> str:
        """The model's name, such as "opt-mini"."""
        ...

    @property
    def inputs(self) -> ImageInput:
        """What the model reads of an image."""
        ...


class EncoderConfig(ImageConfig, Protocol):
    """What the other rooms need to know of a model."""

    @property
    def dim(self) -> int:
        """D, the width of the vectors; 0 for a model that only re-ranks."""
        ...

    @property
    def token_shape(self) -> tuple[int, int]:
        """(L, W) of the tokens that are stored for an image."""
        ...

    @property
    def token_grid(self) -> tuple[int, int] | None:
        """(rows, columns) of the cells of the photo among an image's tokens; None where the model has no such cells."""
        ...

    @property
    def preprocessing(self) -> str:
        """How a photo becomes a square: one of `encoder.inputs.pixels.PREPROCESSINGS`."""
        ...

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages that the model was trained on."""
        ...

    @property
    def first_stage_weight(self) -> float:
        """w in score = match logit + w * (first-stage score - hub cost)."""
        ...

    @property
    def match_calibration(self) -> tuple[float, ...] | None:
        """(a, m, b) of the match probability (see search.retrieval.calibration); None: not calibrated."""
        ...

    @property
    def hub_weights(self) -> tuple[float, float]:
        """Hub cost = weight * familiarity: the weights for images and for captions."""
        ...

    @property
    def hub_sharpness(self) -> float:
        """How much more the nearest queries of the query bank count than the others."""
        ...


class Vocabulary(Protocol):
    """What a model can read."""

    def has_word(self, word: str) -> bool:
        """Whether a word is a single piece of the vocabulary."""
        ...

    def unknown_in(self, text: str) -> tuple[list[str], bool]:
        """The parts of a text that the vocabulary has no piece for, and whether these are all that there is but signs."""
        ...


class BulkEncoder(Protocol):
    """The calls that indexing needs. Any thread may make them."""

    @property
    def config(self) -> EncoderConfig:
        """What the model is like."""
        ...

    @property
    def fingerprint(self) -> str:
        """The hash of weights, config, vocabulary and preprocessing: 16 hex digits; of a pair both, with a plus sign."""
        ...

    @property
    def device(self) -> str:
        """ "CPU" or "Ascend"."""
        ...

    def encode_images(self, images: np.ndarray) -> ImageEncodings:
        """Encode n images, each an array that `config.inputs.make` gave; pixels are uint8 [n, S, S, 3]."""
        ...

    def encode_texts(self, texts: list[str]) -> TextVectors:
        """Encode n texts, in any language."""
        ...


class Encoder(BulkEncoder, Protocol):
    """The calls that searching needs. Any thread may make them."""

    @property
    def on_batch(self) -> Callable[[str, int], None]:
        """Called after each batch with "images", "texts" or "pairs" and the number of rows; may be set."""
        ...

    @on_batch.setter
    def on_batch(self, called: Callable[[str, int], None]) -> None: ...

    @property
    def query_bank(self) -> QueryBank | None:
        """Vectors of many queries, by which hubs are found; None where the model has none."""
        ...

    @property
    def vocabulary(self) -> Vocabulary:
        """What sentences are read by in the first stage."""
        ...

    @property
    def match_batches(self) -> tuple[int, ...]:
        """The numbers of pairs that `match` reads at a time, upwards."""
        ...

    def encode_texts(self, texts: list[str]) -> TextEncodings:
        """Encode n texts, in any language."""
        ...

    def match(self, texts: Any, tokens: np.ndarray) -> np.ndarray:
        """Match logits float32 [max(n, m)] of pairs; more is a better match.

        Args:
            texts: what `encode_texts` of this encoder gave for n texts.
            tokens: float16 [m, L, W] of m images; n or m is 1, or they are equal.
        """
        ...

    def explain(self, texts: Any, tokens: np.ndarray) -> np.ndarray:
        """Cross-attention of pairs, float32 [max(n, m), layers, T, L]: how much text token t takes of image token l.

        Raises:
            NoAttention: `config.token_grid` is None.
        """
        ...

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Where in the text each token comes from, [start, end) in characters; empty for special tokens."""
        ...

    def warm_up(self, images: bool = True) -> None:
        """Make the graphs ready that searches run; without `images` those that sentences need."""
        ...


@dataclass(frozen=True)
class WrittenCaption:
    """A caption that a model wrote.

    Attributes:
        text: the caption.
        log_probability: the natural logarithm of its probability, its end included.
    """

    text: str
    log_probability: float


class CaptionWriter(Protocol):
    """A model that writes captions."""

    @property
    def config(self) -> ImageConfig:
        """What reading an image needs to know of it."""
        ...

    @property
    def fingerprint(self) -> str:
        """The fingerprint of all that its captions depend on, as 16 hex digits."""
        ...

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages that it writes."""
        ...

    @property
    def encoder_fingerprint(self) -> str | None:
        """The encoder whose stored tokens it reads; None: it reads only tokens that it has made itself."""
        ...

    def encode_images(self, images: np.ndarray) -> np.ndarray:
        """Make the tokens [n, L, W] of n images, each an array that `config.inputs.make` gave."""
        ...

    def write(self, tokens: np.ndarray, language: str, beams: int = 4) -> list[WrittenCaption]:
        """Write a caption of each of n images.

        Args:
            tokens: what `encode_images` gave, or what an encoder has stored, [n, L, W].
            language: one of `languages`.
            beams: how many beginnings of a caption are followed at once; 1 takes the likeliest word at each step.

        Raises:
            UnwrittenLanguage: the model doesn't write this language.
        """
        ...
