"""Converts torchvision's EfficientNet-B3 to our names, with batch norms folded into the convolutions."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from encoder.network.convolutions import Stage
from encoder.training.torch_file import read_torch_file

PREFIX = "uniter.img_embeddings.conv."
NORM_EPS = 1e-5


def convert_efficientnet(path: Path, stages: tuple[tuple[int, ...], ...]) -> dict[str, np.ndarray]:
    """Convert torchvision's EfficientNet with these stages to our names, without the classifier."""
    state = read_torch_file(path)
    stem, bias = _folded(state, "features.0.")
    out = {"stem.point.weight": stem.transpose(0, 2, 3, 1).reshape(len(stem), -1), "stem.point.bias": bias}
    index = 0
    for s, stage in enumerate(stages, 1):
        for i in range(Stage(*stage).repeats):
            out |= {f"blocks.{index}.{name}": value for name, value in _block(state, f"features.{s}.{i}.block.").items()}
            index += 1
    out |= _pointwise("head", *_folded(state, f"features.{len(stages) + 1}."))
    return {PREFIX + name: np.ascontiguousarray(value, np.float32) for name, value in out.items()}


def _block(state: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """Convert an inverted residual block. In one that doesn't expand, numbers begin with the depthwise convolution."""
    first = 1 if f"{prefix}3.0.weight" in state else 0
    depthwise, bias = _folded(state, f"{prefix}{first}.")
    out = {"depthwise.weight": depthwise[:, 0], "depthwise.bias": bias}
    if first:
        out |= _pointwise("expand", *_folded(state, f"{prefix}0."))
    for layer in ("fc1", "fc2"):
        name = f"{prefix}{first + 1}.{layer}."
        out |= _pointwise(f"squeeze.{layer}", state[f"{name}weight"], state[f"{name}bias"])
    return out | _pointwise("project", *_folded(state, f"{prefix}{first + 2}."))


def _pointwise(name: str, weight: np.ndarray, bias: np.ndarray) -> dict[str, np.ndarray]:
    return {f"{name}.weight": weight[:, :, 0, 0], f"{name}.bias": bias}


def _folded(state: dict[str, np.ndarray], prefix: str) -> tuple[np.ndarray, np.ndarray]:
    """Fold a batch norm (`1.`) into the convolution before it (`0.`): weight and bias."""
    norm = f"{prefix}1."
    scale = state[f"{norm}weight"] / np.sqrt(state[f"{norm}running_var"] + NORM_EPS)
    weight = state[f"{prefix}0.weight"] * scale[:, None, None, None]
    return weight, state[f"{norm}bias"] - state[f"{norm}running_mean"] * scale
