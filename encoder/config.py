"""What an OPT network looks like: one frozen dataclass, and the presets that have names."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass

from encoder.inputs.image_inputs import PixelInput, RegionInput
from encoder.inputs.pixels import PREPROCESSINGS
from encoder.single_stream_config import FORM, SingleStreamConfig


@dataclass(frozen=True)
class OptConfig:
    """Sizes of one OPT network in the form of Taichu-OPT-v2 (text stream, image stream, fusion, ITM head).

    `hidden_size` H is the width of the text stream, the fusion and the stored image tokens; `dim` D is the width
    of the contrastive space. The image stream is a pre-LN ViT; `merge` > 1 averages each `merge` x `merge` square of
    its patch tokens after the last norm; where there are `grid_stages` (those of an EfficientNet, see
    convolutions.Stage) its `grid_features` features of each place are added to them, and `adapter_layers` more blocks read
    the sum. With `compact_tokens` what is kept of an image is `quantization.quantize_tokens` of its tokens.
    Matrices whose names begin as `int8_weights` say are stored in 8 bits.

    `match_calibration` (a, m, b), fitted on validation, says how likely a re-ranked candidate of score s is a match:
    sigmoid(a * s + m * mean of the scores of all that were re-ranked with it + b), scores without what hubs cost.
    None: nothing is said.

    A candidate's score is match logit + `first_stage_weight` * (cosine - hub weight * familiarity), where `hub_weights` are
    (to images, to captions) and familiarity, of sharpness `hub_sharpness`, is how near it is to the query bank.

    `preprocessing` is how pixels come to the square, one of `encoder.inputs.pixels.PREPROCESSINGS`; `languages` are those that
    the weights were trained on.

    Where there are `regions`, the image stream reads so many of a detector's regions at most, with features of
    `region_width` numbers, instead of pixels (see region_stream.py).
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
        """What it reads of an image."""
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
        """(L, W) of the tokens kept for an image: class token first, then (merged) patches row by row, or regions."""
        width = self.hidden_size // 2 + 1 if self.compact_tokens else self.hidden_size
        if self.regions:
            return 1 + self.regions, width
        patches = (self.grid // self.merge) ** 2
        kept = 1 + patches if self.merge > 1 else self.vit_tokens
        return kept, width

    @property
    def token_grid(self) -> tuple[int, int] | None:
        """(h, w) of the patches among these tokens: the last h * w, row by row; None of regions, which have no such places."""
        return None if self.regions else (self.grid // self.merge, self.grid // self.merge)

    def to_json(self) -> str:
        """The config as canonical JSON, the form that the fingerprint is taken of."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)


def config_from_json(text: str) -> OptConfig | SingleStreamConfig:
    """Read what `to_json` of either kind wrote; raises ValueError, TypeError or AttributeError for what is none."""
    values = {key: _frozen(value) for key, value in json.loads(text).items()}
    return SingleStreamConfig(**values) if values.get("form") == FORM else OptConfig(**values)


def _frozen(value):
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


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
"""The fields that say how scores are combined, and change no vector."""


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
