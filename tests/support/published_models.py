"""Small checkpoints of OPT-v2 with random weights, and with the names, layouts and dtypes of published ones."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from encoder.config import PRESETS, OptConfig
from tests.support.ckpt_files import write_checkpoint
from tests.support.small_models import random_weights

PIECES = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *"狗猫海边红色汽车一只在跑的人蓝天绿草地黄田野白雪墙大小",
    "a",
    "dog",
    "cat",
    "##s",
    "red",
    "0",
]
SMALL_PUBLISHED = dataclasses.replace(
    PRESETS["opt-v2-base"],
    name="opt-v2",
    hidden_size=128,
    dim=32,
    vocab_size=len(PIECES),
    text_layers=2,
    text_heads=2,
    text_intermediate=192,
    max_positions=64,
    fusion_layers=3,
    fusion_intermediate=256,
    itm_hidden=256,
    image_size=80,
    patch_size=20,
    image_layers=2,
    image_heads=2,
    image_intermediate=320,
)
"""All sizes differ, so that a test notices if one takes the place of another."""
SMALL_IMPORTED = dataclasses.replace(SMALL_PUBLISHED, published_extras=False)
"""What an import makes of it."""

OPTIMIZER = {
    "global_step": np.array([7], np.int32),
    "learning_rate": np.array(1e-4, np.float32),
    "beta1_power": np.array(0.9, np.float32),
    "scale_sense": np.array(65536, np.float32),
}


def published_weights(config: OptConfig = SMALL_PUBLISHED, seed: int = 0) -> dict[str, np.ndarray]:
    """Make the weights of a published V2 file, with those that retrieval doesn't use."""
    weights = random_weights(config, seed)
    weights["uniter.img_embeddings.vit.position_ids"] = np.arange(config.vit_tokens, dtype=np.int32)[None]
    return weights


def training_weights(config: OptConfig = SMALL_PUBLISHED, seed: int = 0) -> dict[str, np.ndarray]:
    """Make the weights of a file that was saved during training: with optimizer state and decoders."""
    weights = published_weights(config, seed)
    moments = {f"{kind}.{name}": np.zeros_like(value) for kind in ("moment1", "adam_v") for name, value in weights.items()}
    decoders = {"txt_output.decoder.weight": np.ones((4, 3), np.float32), "img_output.bias": np.ones(5, np.float32)}
    return weights | moments | decoders | OPTIMIZER


def write_published(
    folder: Path, weights: dict[str, np.ndarray] | None = None, name: str = "opt_v2_small.ckpt", **options: Any
) -> Path:
    """Write a checkpoint, with its vocabulary beside it. `options`: see `checkpoint_bytes`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(PIECES) + "\n", encoding="utf-8")
    return write_checkpoint(folder / name, published_weights() if weights is None else weights, **options)
