"""The sizes of OPT networks: `OptConfig`, how a config is read from JSON, and the named presets."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from typing import Any

from encoder.captioner_config import CaptionerConfig, CaptioningConfig, captioning_config
from encoder.inputs.image_inputs import PixelInput, RegionInput
from encoder.inputs.pixels import PREPROCESSINGS
from encoder.single_stream_config import FORM, SingleStreamConfig


@dataclass(frozen=True)
class OptConfig:
    """Sizes of one OPT network in the form of Taichu-OPT-v2: text stream, image stream, fusion, ITM head.

    The image stream is a pre-LN ViT over pixels or, if `regions` is not 0, over a detector's regions
    (see `encoder/network/region_stream.py`).

    Attributes:
        hidden_size: H, the width of the text stream, of the fusion and of the stored image tokens.
        dim: D, the width of the contrastive space.
        merge: if above 1, each square of `merge` x `merge` patch tokens is averaged after the last norm.
        compact_tokens: an image's tokens are stored as `quantization.quantize_tokens` gives them.
        adapter_layers: ViT blocks that read the sum of patch tokens and grid features.
        preprocessing: how a photo becomes a square, one of `encoder.inputs.pixels.PREPROCESSINGS`.
        grid_features: the features of each grid cell that an EfficientNet adds to the patch tokens.
        grid_stages: the stages of that EfficientNet (see `encoder.network.convolutions.Stage`); empty: there is none.
        int8_weights: beginnings of the names of the matrices that are stored in 8 bits.
        regions: the most regions of an image that are read; 0: the network reads pixels.
        region_width: the numbers in a region's features.
        first_stage_weight: w in score = match logit + w * (cosine - hub weight * familiarity).
        match_calibration: (a, m, b), fitted on validation data. A re-ranked candidate of score s is a match with probability
            sigmoid(a * s + m * mean score of all re-ranked candidates + b); scores without hub costs. None: not calibrated.
        hub_weights: the hub weights for images and for captions.
        hub_sharpness: the sharpness of the familiarity with the query bank (see `encoder.query_bank.familiarity`).
        languages: the languages that the weights were trained on.

    Raises:
        ValueError: a field cannot have its value.
    """

    name: str
    hidden_size: int
    dim: int
    vocab_size: int
    text_layers: int
    text_heads: int
    text_intermediate: int
    text_length: int
    max_positions: int
    fusion_layers: int
    fusion_intermediate: int
    itm_hidden: int
    image_size: int
    patch_size: int
    image_layers: int
    image_heads: int
    image_intermediate: int
    image_activation: str = "quick_gelu"
    image_norm_eps: float = 1e-5
    image_pre_norm: bool = True
    patch_bias: bool = False
    registers: int = 0
    merge: int = 1
    compact_tokens: bool = False
    adapter_layers: int = 0
    type_vocab_size: int = 3
    published_extras: bool = False
    image_mean: tuple[float, ...] = (0.48145466, 0.4578275, 0.40821073)
    image_std: tuple[float, ...] = (0.26862954, 0.26130258, 0.27577711)
    preprocessing: str = "center_crop"
    tokenizer: str = "wordpiece"
    grid_features: int = 0
    grid_stages: tuple[tuple[int, ...], ...] = ()
    int8_weights: tuple[str, ...] = ()
    regions: int = 0
    region_width: int = 2048
    first_stage_weight: float = 0.0
    match_calibration: tuple[float, ...] | None = None
    hub_weights: tuple[float, float] = (0.0, 0.0)
    hub_sharpness: float = 20.0
    languages: tuple[str, ...] = ("en", "zh")

    def __post_init__(self) -> None:
        if self.preprocessing not in PREPROCESSINGS:
            raise ValueError(f"preprocessing is {self.preprocessing!r}, not one of {', '.join(PREPROCESSINGS)}")
        given = self.match_calibration
        if given is not None and (len(given) != 3 or not all(map(math.isfinite, given))):
            raise ValueError(f"match_calibration is {given!r}, not three finite numbers")
        if len(self.hub_weights) != 2 or not all(map(math.isfinite, (*self.hub_weights, self.hub_sharpness))):
            raise ValueError(f"hub_weights is {self.hub_weights!r}, not two finite numbers")
        if self.hub_sharpness <= 0:
            raise ValueError(f"hub_sharpness is {self.hub_sharpness!r}, not above 0")

    @property
    def inputs(self) -> PixelInput | RegionInput:
        """What the network reads of an image."""
        if self.regions:
            return RegionInput(self.regions, self.region_width)
        return PixelInput(self.image_size, self.preprocessing)

    @property
    def stacks(self) -> dict[str, int]:
        """The number of blocks of each part."""
        return {"text": self.text_layers, "image": self.image_layers, "fusion": self.fusion_layers}

    @property
    def grid(self) -> int:
        """Patches along one side of the image."""
        return self.image_size // self.patch_size

    @property
    def vit_tokens(self) -> int:
        """Tokens inside the ViT: class token, registers, patches."""
        return 1 + self.registers + self.grid**2

    @property
    def token_shape(self) -> tuple[int, int]:
        """(L, W) of an image's stored tokens: the class token, then (merged) patches row by row, or regions."""
        width = self.hidden_size // 2 + 1 if self.compact_tokens else self.hidden_size
        if self.regions:
            return 1 + self.regions, width
        patches = (self.grid // self.merge) ** 2
        kept = 1 + patches if self.merge > 1 else self.vit_tokens
        return kept, width

    @property
    def token_grid(self) -> tuple[int, int] | None:
        """(rows, columns) of the patches, which are the last tokens, row by row; None for a network that reads regions."""
        return None if self.regions else (self.grid // self.merge, self.grid // self.merge)

    def to_json(self) -> str:
        """The config as canonical JSON, which is what the fingerprint hashes."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)


def encoder_beside(config: CaptionerConfig) -> OptConfig:
    """The config of an encoder that has the image stream, the text stream and the fusion of a captioner."""
    return dataclasses.replace(
        PRESETS["opt-v2-base"],
        hidden_size=config.hidden_size,
        vocab_size=config.vocab_size,
        max_positions=config.max_positions,
        type_vocab_size=config.type_vocab_size,
        text_layers=config.text_layers,
        text_heads=config.heads,
        text_intermediate=config.text_intermediate,
        fusion_layers=config.fusion_layers,
        fusion_intermediate=config.fusion_intermediate,
        image_size=config.image_size,
        patch_size=config.patch_size,
        image_layers=config.image_layers,
        image_heads=config.image_heads,
        image_intermediate=config.image_intermediate,
        published_extras=False,
    )


ModelConfig = OptConfig | SingleStreamConfig
"""The config of any model that searches."""
AnyConfig = ModelConfig | CaptioningConfig
"""The config of any model that there is."""


def config_from_json(text: str) -> AnyConfig:
    """Read what `to_json` of any config wrote.

    Raises:
        ValueError, TypeError, AttributeError: the text is not the JSON of a config.
    """
    values: dict[str, Any] = {key: _with_tuples(value) for key, value in json.loads(text).items()}
    if (captioner := captioning_config(values)) is not None:
        return captioner
    return SingleStreamConfig(**values) if values.get("form") == FORM else OptConfig(**values)


def _with_tuples(value: Any) -> Any:
    """A JSON value with tuples in the place of lists."""
    if isinstance(value, dict):
        return {key: _with_tuples(one) for key, one in value.items()}
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value


EFFICIENTNET_B3 = (
    (1, 3, 1, 40, 24, 2),
    (6, 3, 2, 24, 32, 3),
    (6, 5, 2, 32, 48, 3),
    (6, 3, 2, 48, 96, 5),
    (6, 5, 1, 96, 136, 5),
    (6, 5, 2, 136, 232, 6),
    (6, 3, 1, 232, 384, 2),
)


RANKING = ("first_stage_weight", "match_calibration", "hub_weights", "hub_sharpness")
"""The fields that say how scores are combined. They change no vector."""


PRESETS = {
    "opt-v2-base": OptConfig(
        name="opt-v2-base",
        hidden_size=768,
        dim=512,
        vocab_size=21128,
        text_layers=6,
        text_heads=12,
        text_intermediate=3072,
        text_length=50,
        max_positions=512,
        fusion_layers=6,
        fusion_intermediate=3072,
        itm_hidden=1536,
        image_size=224,
        patch_size=16,
        image_layers=12,
        image_heads=12,
        image_intermediate=3072,
        published_extras=True,
        languages=("zh",),
    ),
    "opt-mini": OptConfig(
        name="opt-mini",
        hidden_size=384,
        dim=512,
        vocab_size=20000,
        text_layers=4,
        text_heads=6,
        text_intermediate=1536,
        text_length=24,
        max_positions=64,
        fusion_layers=2,
        fusion_intermediate=768,
        itm_hidden=768,
        image_size=196,
        patch_size=14,
        image_layers=12,
        image_heads=6,
        image_intermediate=1536,
        image_activation="gelu_tanh",
        image_norm_eps=1e-6,
        image_pre_norm=False,
        patch_bias=True,
        registers=4,
        merge=2,
        adapter_layers=1,
        grid_features=1536,
        grid_stages=EFFICIENTNET_B3,
        int8_weights=("uniter.img_embeddings.conv.", *(f"uniter.img_embeddings.vit.encoder.layers.{i}." for i in range(8))),
        image_mean=(0.485, 0.456, 0.406),
        image_std=(0.229, 0.224, 0.225),
        preprocessing="squash",
        tokenizer="unigram",
    ),
    "opt-zoo": OptConfig(
        name="opt-zoo",
        hidden_size=768,
        dim=512,
        vocab_size=21128,
        text_layers=6,
        text_heads=12,
        text_intermediate=3072,
        text_length=50,
        max_positions=512,
        fusion_layers=6,
        fusion_intermediate=3072,
        itm_hidden=1536,
        image_size=0,
        patch_size=1,
        image_layers=6,
        image_heads=12,
        image_intermediate=3072,
        regions=100,
        languages=("zh",),
    ),
}
