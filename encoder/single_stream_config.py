"""What the published single-stream OPTs look like: Taichu-OPT-v1 and the model zoo's."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

from encoder.inputs.image_inputs import PixelInput, RegionInput

FORM = "joint"


@dataclass(frozen=True)
class SingleStreamConfig:
    """Sizes of a network that reads a sentence and an image together and can do nothing else: it has no vectors.

    `in_out` says how the attention's projection and the feed-forward of the joint blocks are stored. Of the image it reads
    either the pixels, through a ViT of `image_width` (OPT specification, 2.2), or `regions` regions whose features are
    `region_width` wide (2.1); the other's sizes are 0.
    """

    name: str
    hidden_size: int
    vocab_size: int
    layers: int
    heads: int
    intermediate: int
    text_length: int
    in_out: bool
    max_positions: int = 512
    type_vocab_size: int = 3
    regions: int = 0
    region_width: int = 0
    image_size: int = 0
    patch_size: int = 0
    image_width: int = 0
    image_layers: int = 0
    image_heads: int = 0
    image_intermediate: int = 0
    image_mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    image_std: tuple[float, ...] = (0.229, 0.224, 0.225)
    preprocessing: str = "resize_crop"
    tokenizer: str = "wordpiece"
    languages: tuple[str, ...] = ("zh",)
    int8_weights: tuple[str, ...] = ()
    first_stage_weight: float = 0.0
    match_calibration: None = None
    form: str = FORM

    @property
    def dim(self) -> int:
        """The width of its vectors: it has none."""
        return 0

    @property
    def inputs(self) -> PixelInput | RegionInput:
        """What it reads of an image."""
        if self.regions:
            return RegionInput(self.regions, self.region_width)
        return PixelInput(self.image_size, self.preprocessing)

    @property
    def grid(self) -> int:
        """Patches along one side of the image."""
        return self.image_size // self.patch_size

    @property
    def token_shape(self) -> tuple[int, int]:
        """What is kept of an image: embedded regions, or what the ViT makes of the patches, before the joint embedding."""
        return (self.regions, self.hidden_size) if self.regions else (self.grid**2, self.image_width)

    @property
    def compact_tokens(self) -> bool:
        """False: tokens are kept in 16 bits."""
        return False

    @property
    def token_grid(self) -> None:
        """None: no cross-attention says where among these a sentence looks."""
        return None

    @property
    def stacks(self) -> dict[str, int]:
        """The number of blocks of each part."""
        return {"image": self.image_layers, "joint": self.layers} if self.image_layers else {"joint": self.layers}

    def to_json(self) -> str:
        """The config as canonical JSON, the form that the fingerprint is taken of."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)


JOINT_PRESETS = {
    "opt-v1": SingleStreamConfig(
        name="opt-v1",
        hidden_size=2048,
        vocab_size=28996,
        layers=12,
        heads=32,
        intermediate=8192,
        text_length=50,
        in_out=True,
        image_size=448,
        patch_size=32,
        image_width=768,
        image_layers=12,
        image_heads=12,
        image_intermediate=3072,
    ),
    "opt-zoo-trunk": SingleStreamConfig(
        name="opt-zoo-trunk",
        hidden_size=768,
        vocab_size=28996,
        layers=12,
        heads=12,
        intermediate=3072,
        text_length=30,
        in_out=False,
        regions=30,
        region_width=2048,
    ),
}
