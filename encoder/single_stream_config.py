"""The sizes of the published single-stream OPTs: Taichu-OPT-v1 and the model zoo's."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

from encoder.inputs.image_inputs import PixelInput, RegionInput

FORM = "joint"


@dataclass(frozen=True)
class SingleStreamConfig:
    """Sizes of a network that reads a sentence and an image together. It has no vectors: it can only re-rank.

    The network reads the pixels of an image through a ViT (OPT specification, 2.2), or the regions of a detector (2.1).
    The sizes of the other are 0.

    Attributes:
        in_out: the joint blocks store their attention projection and feed-forward as [in, out]; else [out, in].
        regions: the most regions of an image that are read; 0: the network reads pixels.
        region_width: the numbers in a region's features.
        image_width: the width of the ViT.
        match_calibration: always None, since a model that only re-ranks is not calibrated.
        form: marks the JSON of this config; always `FORM`.
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
        """0, since the network has no vectors."""
        return 0

    @property
    def hub_weights(self) -> tuple[float, float]:
        """Zeros: without vectors no hubs are found."""
        return 0.0, 0.0

    @property
    def hub_sharpness(self) -> float:
        """Without effect, since `hub_weights` are 0."""
        return 1.0

    @property
    def inputs(self) -> PixelInput | RegionInput:
        """What the network reads of an image."""
        if self.regions:
            return RegionInput(self.regions, self.region_width)
        return PixelInput(self.image_size, self.preprocessing)

    @property
    def grid(self) -> int:
        """Patches along one side of the image."""
        return self.image_size // self.patch_size

    @property
    def token_shape(self) -> tuple[int, int]:
        """(L, W) of an image's stored tokens: embedded regions, or the ViT's patches before the joint embedding."""
        return (self.regions, self.hidden_size) if self.regions else (self.grid**2, self.image_width)

    @property
    def compact_tokens(self) -> bool:
        """False: tokens are stored in 16 bits."""
        return False

    @property
    def token_grid(self) -> None:
        """None: the network has no cross-attention, so it cannot be explained."""
        return None

    @property
    def stacks(self) -> dict[str, int]:
        """The number of blocks of each part."""
        return {"image": self.image_layers, "joint": self.layers} if self.image_layers else {"joint": self.layers}

    def to_json(self) -> str:
        """The config as canonical JSON, which is what the fingerprint hashes."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)


SINGLE_STREAM_PRESETS = {
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
        preprocessing="resize_crop_cv",
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
