"""Two models as one encoder: the first one finds, the second one re-ranks. Never imports mindspore."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from encoder.api import Encoder, EncoderConfig, ImageEncodings, TextEncodings
from encoder.inputs.image_inputs import PairInput

JOINED = "+"


@dataclass(frozen=True)
class PairedConfig:
    """The configs of two models as one `EncoderConfig`.

    The vectors are the first model's, the tokens and match logits the second's. The first stage's scores count only if the
    second model's own config says so.
    """

    first: EncoderConfig
    second: EncoderConfig

    @property
    def name(self) -> str:
        """Both names."""
        return f"{self.first.name} {JOINED} {self.second.name}"

    @property
    def dim(self) -> int:
        """D of the first model."""
        return self.first.dim

    @property
    def token_shape(self) -> tuple[int, int]:
        """(L, W) of the second model."""
        return self.second.token_shape

    @property
    def token_grid(self) -> tuple[int, int] | None:
        """(rows, columns) of the second model; None if it cannot explain."""
        return self.second.token_grid

    @property
    def preprocessing(self) -> str:
        """How a photo becomes the square that `token_grid` covers: the second model's."""
        return self.second.preprocessing

    @property
    def inputs(self) -> PairInput:
        """What both models read of an image."""
        return PairInput(self.first.inputs, self.second.inputs)

    @property
    def first_stage_weight(self) -> float:
        """The second model's."""
        return self.second.first_stage_weight

    @property
    def match_calibration(self) -> None:
        """None: a calibration holds only for candidates of the first stage that it was fitted on."""
        return None

    @property
    def hub_weights(self) -> tuple[float, float]:
        """The first model's, since they are fitted to its vectors."""
        return self.first.hub_weights

    @property
    def hub_sharpness(self) -> float:
        """The first model's."""
        return self.first.hub_sharpness

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages that both models were trained on; if there is none, the second model's."""
        return tuple(one for one in self.first.languages if one in self.second.languages) or self.second.languages


@dataclass(frozen=True, eq=False)
class PairedTexts:
    """Encodings of n texts: the first model's vectors, and the second's states, which are computed when they are needed.

    Attributes:
        vectors: float32 [n, D], of unit length.
        texts: the texts themselves.
        reader: the second model.
    """

    vectors: np.ndarray
    texts: list[str]
    reader: Encoder

    def __len__(self) -> int:
        return len(self.texts)

    @cached_property
    def encoded(self) -> TextEncodings:
        """The second model's encodings."""
        return self.reader.encode_texts(self.texts)

    @property
    def states(self) -> np.ndarray:
        """[n, T, ...], as the second model's `match` reads them."""
        return self.encoded.states

    @property
    def lengths(self) -> np.ndarray:
        """int32 [n], the number of the second model's tokens that are not padding."""
        return self.encoded.lengths


class PairedEncoder:
    """An `Encoder` of two: `first` gives the vectors; `second` gives tokens, match logits and explanations."""

    def __init__(self, first: Encoder, second: Encoder):
        self.first, self.second = first, second
        self.device = first.device
        self.config = PairedConfig(first.config, second.config)
        self.query_bank = first.query_bank
        self.vocabulary = first.vocabulary
        self.match_batches = second.match_batches
        self.fingerprint = paired_fingerprint(first.fingerprint, second.fingerprint)

    @property
    def on_batch(self) -> Callable[[str, int], None]:
        """Called after each batch of either model (see `Encoder.on_batch`)."""
        return self.first.on_batch

    @on_batch.setter
    def on_batch(self, called: Callable[[str, int], None]) -> None:
        self.first.on_batch = self.second.on_batch = called

    def encode_images(self, images: np.ndarray) -> ImageEncodings:
        """Encode n records that `config.inputs` made: the first model's vectors, the second's tokens."""
        vectors = self.first.encode_images(images["first"]).vectors
        return ImageEncodings(vectors, self.second.encode_images(images["second"]).tokens)

    def encode_texts(self, texts: list[str]) -> PairedTexts:
        """Encode n texts with the first model."""
        return PairedTexts(self.first.encode_texts(texts).vectors, list(texts), self.second)

    def match(self, texts: PairedTexts, tokens: np.ndarray) -> np.ndarray:
        """The second model's match logits (see `Encoder.match`)."""
        return self.second.match(texts.encoded, tokens)

    def explain(self, texts: PairedTexts, tokens: np.ndarray) -> np.ndarray:
        """The second model's cross-attention (see `Encoder.explain`).

        Raises:
            NoAttention: the second model cannot explain.
        """
        return self.second.explain(texts.encoded, tokens)

    def spans(self, text: str) -> list[tuple[int, int]]:
        """The characters of each of the second model's tokens (see `Encoder.spans`)."""
        return self.second.spans(text)

    def warm_up(self, images: bool = True) -> None:
        """Warm up both models (see `Encoder.warm_up`)."""
        self.first.warm_up(images)
        self.second.warm_up(images)


def tokens_fingerprint(fingerprint: str) -> str:
    """The fingerprint of the model that makes the tokens which are stored: of a pair, the second one's."""
    return fingerprint.split(JOINED)[-1]


def paired_fingerprint(first: str, second: str | None) -> str:
    """The first model's fingerprint and, if there is a re-ranker, its own after a plus sign."""
    return first if second is None else f"{first}{JOINED}{second}"
