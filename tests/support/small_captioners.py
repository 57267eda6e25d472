"""Small captioners with weights that depend on their names alone, and checkpoints of them as they were published."""

from __future__ import annotations

import dataclasses
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from encoder.captioner_config import OPT_CAP, V1_CAPTION, ZOO_CAPTION, CaptionerConfig, CaptioningConfig
from encoder.config import encoder_beside
from encoder.model_folder import rounded, write_model
from tests.support.published_models import OPTIMIZER, PIECES
from tests.support.published_single_stream import SMALL_V1, SMALL_ZOO, v1_shapes, zoo_shapes
from tests.support.small_models import WORDS, add_graphs, parameter_shapes, vocabulary

SMALL_CAPTIONER = CaptionerConfig(
    name="small-captioner",
    hidden_size=32,
    vocab_size=len(WORDS),
    heads=2,
    text_layers=2,
    text_intermediate=64,
    fusion_layers=2,
    fusion_intermediate=48,
    max_positions=32,
    image_tokens=5,
    caption_length=9,
    begin=(("en", 13), ("zh", 14)),
    end=3,
    encoder="0" * 16,
    int8_weights=("uniter.", "cls."),
)
"""In the form of opt-mini's: it reads an encoder's tokens."""

SMALL_CAP = dataclasses.replace(
    OPT_CAP,
    hidden_size=128,
    vocab_size=len(PIECES),
    heads=2,
    text_layers=1,
    text_intermediate=192,
    fusion_layers=2,
    fusion_intermediate=256,
    max_positions=64,
    image_size=80,
    patch_size=20,
    image_tokens=17,
    image_layers=1,
    image_heads=2,
    image_intermediate=320,
    caption_length=10,
)
TABLE = "txt_output.tfm_embedding_lookup.embedding_table"
_OUTPUT: dict[str, Any] = dict(
    width=192,
    heads=3,
    intermediate=160,
    encoder_layers=1,
    decoder_layers=2,
    vocab_size=len(PIECES) + 9,
    caption_length=11,
)
SMALL_V1_CAPTION = dataclasses.replace(V1_CAPTION, trunk=dataclasses.replace(SMALL_V1, layers=1, image_layers=1), **_OUTPUT)
SMALL_ZOO_CAPTION = dataclasses.replace(ZOO_CAPTION, trunk=dataclasses.replace(SMALL_ZOO, layers=2), **_OUTPUT)
"""All sizes differ, so that a test notices if one takes the place of another."""


def named_weights(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Make weights of parameters: each depends on its name and shape alone.

    Those of `txt_output`'s words are small: they are multiplied by a factor, and no norm stands before the logits.
    """
    out = {}
    for name, shape in shapes.items():
        deviation = 0.008 if name == TABLE else 0.15
        value = np.random.default_rng(zlib.crc32(name.encode())).normal(0, deviation, shape)
        out[name] = (1 + value if name.endswith("gamma") else value).astype(np.float32)
    return out


def captioner_weights(config: CaptioningConfig) -> dict[str, np.ndarray]:
    """Make the weights of a captioner, rounded as a model folder stores them."""
    weights = named_weights(parameter_shapes(config))
    halves = {name: value.astype(np.float16).astype(np.float32) if value.ndim > 1 else value for name, value in weights.items()}
    return {name: rounded(name, halves[name] if not config.int8_weights else weights[name], config) for name in weights}


def write_small_captioner(folder: Path, config: CaptionerConfig = SMALL_CAPTIONER) -> Path:
    """Write the model folder of a captioner, with a word vocabulary."""
    write_model(folder, config, captioner_weights(config), vocabulary())
    return add_graphs(folder)


def published_shapes(config: CaptioningConfig) -> dict[str, tuple[int, ...]]:
    """List the parameters of the file that a captioner was published as, with those that captioning doesn't read."""
    if isinstance(config, CaptionerConfig):
        encoder = dataclasses.replace(encoder_beside(config), published_extras=True)
        return parameter_shapes(encoder) | {"itm_output.weight": (2, config.hidden_size), "clip_temp": ()}
    trunk = zoo_shapes(config.trunk) if config.trunk.regions else v1_shapes(config.trunk)
    kept = {name: shape for name, shape in trunk.items() if not name.startswith("rank_output.")}
    return kept | {name: shape for name, shape in parameter_shapes(config).items() if name.startswith("txt_output.")}


def published_captioner(config: CaptioningConfig, own_spelling: bool = False) -> dict[str, np.ndarray]:
    """Make the weights of the file of a published captioner.

    Args:
        own_spelling: the decoder has the names of the original's generating network.
    """
    decoder = "txt_output.tfm_decoder."
    weights = named_weights(published_shapes(config))
    if own_spelling:
        weights = {name.replace(decoder, f"{decoder}decoder.tfm_decoder."): value for name, value in weights.items()}
    return weights | {f"adam_m.{name}": np.zeros(1, np.float32) for name in list(weights)[:3]} | OPTIMIZER
