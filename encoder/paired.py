"""Two models as one encoder: the first finds, the second re-ranks. Never imports mindspore."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from encoder.inputs import PairInput

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
    """vectors float32 [n, D] of the first model; the second reads the texts when they are matched."""

    vectors: np.ndarray
    texts: list[str]

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True, eq=False)
class PairedImages:
    """vectors float32 [n, D] of the first model; tokens float16 [n, L, W] of the second."""

    vectors: np.ndarray
    tokens: np.ndarray


class PairedEncoder:
    """An encoder's calls, answered by two encoders: `first` gives vectors, `second` tokens and match logits."""

    def __init__(self, first, second):
        self.first, self.second = first, second
        self.device = first.device
        self.config = PairedConfig(first.config, second.config)
        self.query_bank = first.query_bank
        self.fingerprint = paired_fingerprint(first.fingerprint, second.fingerprint)

    def encode_images(self, images: np.ndarray) -> PairedImages:
        """Records [n] as `config.inputs` makes them, to the first model's vectors and the second's tokens."""
        vectors = self.first.encode_images(images["first"]).vectors
        return PairedImages(vectors, self.second.encode_images(images["second"]).tokens)

    def encode_texts(self, texts: list[str]) -> PairedTexts:
        """Sentences to the first model's vectors."""
        return PairedTexts(self.first.encode_texts(texts).vectors, list(texts))

    def match(self, texts: PairedTexts, tokens: np.ndarray) -> np.ndarray:
        """The second model's match logits float32 [max(n, m)]."""
        return self.second.match(self.second.encode_texts(texts.texts), tokens)

    def warm_up(self) -> None:
        """Compile every shape of both."""
        self.first.warm_up()
        self.second.warm_up()


def paired_fingerprint(first: str, second: str | None) -> str:
    """The first model's fingerprint, and the re-ranker's behind a plus sign where there is one."""
    return first if second is None else f"{first}{JOINED}{second}"
