"""Two models as one encoder: the first finds, the second re-ranks. Never imports mindspore."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from encoder.api import ImageEncodings
from encoder.inputs.image_inputs import PairInput

JOINED = "+"


@dataclass(frozen=True)
class PairedConfig:
    """The two configs, and of each what the other rooms ask for.

    Vectors are the first model's, tokens and scores the second's: no score is blended with the first stage's unless the
    second's own config says so.
    """

    first: object
    second: object

    @property
    def name(self) -> str:
        """Both names."""
        return f"{self.first.name} {JOINED} {self.second.name}"

    @property
    def dim(self) -> int:
        """The width of the first model's vectors."""
        return self.first.dim

    @property
    def token_shape(self) -> tuple[int, int]:
        """(L, W) of what the second model keeps of an image."""
        return self.second.token_shape

    @property
    def token_grid(self) -> tuple[int, int] | None:
        """(h, w) of the places among these tokens, the second model's; None where it can't say where it looks."""
        return self.second.token_grid

    @property
    def preprocessing(self) -> str:
        """How a photo becomes the square that these places lie on: the second model's."""
        return self.second.preprocessing

    @property
    def inputs(self) -> PairInput:
        """What both read of an image."""
        return PairInput(self.first.inputs, self.second.inputs)

    @property
    def first_stage_weight(self) -> float:
        """The second model's."""
        return self.second.first_stage_weight

    @property
    def match_calibration(self) -> None:
        """None: a calibration holds for the candidates of the first stage that it was fitted behind."""
        return None

    @property
    def hub_weights(self) -> tuple[float, float]:
        """The first model's, whose vectors they are fitted to."""
        return self.first.hub_weights

    @property
    def hub_sharpness(self) -> float:
        """The first model's."""
        return self.first.hub_sharpness

    @property
    def languages(self) -> tuple[str, ...]:
        """Those that both were trained on; the second's, if there is none."""
        return tuple(one for one in self.first.languages if one in self.second.languages) or self.second.languages


@dataclass(frozen=True, eq=False)
class PairedTexts:
    """vectors float32 [n, D] of the first model; the rest is the second's, which reads the texts when that is asked for."""

    vectors: np.ndarray
    texts: list[str]
    reader: object

    def __len__(self) -> int:
        return len(self.texts)

    @cached_property
    def read(self):
        """The second model's encodings."""
        return self.reader.encode_texts(self.texts)

    @property
    def states(self) -> np.ndarray:
        """[n, T, ...], as the second model's `match` takes them."""
        return self.read.states

    @property
    def lengths(self) -> np.ndarray:
        """int32 [n], the second model's tokens that are not padding."""
        return self.read.lengths


class PairedEncoder:
    """An encoder's calls, answered by two encoders: `first` gives vectors, `second` tokens, match logits and explanations."""

    def __init__(self, first, second):
        self.first, self.second = first, second
        self.device = first.device
        self.config = PairedConfig(first.config, second.config)
        self.query_bank = first.query_bank
        self.match_batches = second.match_batches
        self.fingerprint = paired_fingerprint(first.fingerprint, second.fingerprint)

    @property
    def on_batch(self):
        """Told of each batch of either model (see `Encoder.on_batch`)."""
        return self.first.on_batch

    @on_batch.setter
    def on_batch(self, told) -> None:
        self.first.on_batch = self.second.on_batch = told

    def encode_images(self, images: np.ndarray) -> ImageEncodings:
        """Records [n] as `config.inputs` makes them, to the first model's vectors and the second's tokens."""
        vectors = self.first.encode_images(images["first"]).vectors
        return ImageEncodings(vectors, self.second.encode_images(images["second"]).tokens)

    def encode_texts(self, texts: list[str]) -> PairedTexts:
        """Sentences to the first model's vectors."""
        return PairedTexts(self.first.encode_texts(texts).vectors, list(texts), self.second)

    def match(self, texts: PairedTexts, tokens: np.ndarray) -> np.ndarray:
        """The second model's match logits float32 [max(n, m)]."""
        return self.second.match(texts.read, tokens)

    def explain(self, texts: PairedTexts, tokens: np.ndarray) -> np.ndarray:
        """Where the second model looks, float32 [max(n, m), layers, T, L]; raises NoAttention where it can't say."""
        return self.second.explain(texts.read, tokens)

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Where in a sentence each of the second model's tokens comes from, [start, end) in characters."""
        return self.second.spans(text)

    def warm_up(self, images: bool = True) -> None:
        """As `Encoder.warm_up`, of both."""
        self.first.warm_up(images)
        self.second.warm_up(images)


def paired_fingerprint(first: str, second: str | None) -> str:
    """The first model's fingerprint, and the re-ranker's behind a plus sign where there is one."""
    return first if second is None else f"{first}{JOINED}{second}"
