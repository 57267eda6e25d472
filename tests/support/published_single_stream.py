"""Small checkpoints of the single-stream OPTs with random weights, and with the names and layouts of published ones."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from encoder.single_stream_config import SINGLE_STREAM_PRESETS, SingleStreamConfig
from tests.support.ckpt_files import write_checkpoint
from tests.support.published_models import OPTIMIZER, PIECES

Shapes = dict[str, tuple[int, ...]]
"""The shapes of parameters, by name."""

SMALL_V1 = dataclasses.replace(
    SINGLE_STREAM_PRESETS["opt-v1"],
    hidden_size=192,
    vocab_size=len(PIECES) + 7,
    layers=3,
    heads=3,
    intermediate=320,
    max_positions=64,
    image_size=96,
    patch_size=32,
    image_width=128,
    image_layers=2,
    image_heads=2,
    image_intermediate=256,
)
SMALL_ZOO = dataclasses.replace(
    SINGLE_STREAM_PRESETS["opt-zoo-trunk"],
    hidden_size=128,
    vocab_size=len(PIECES) + 7,
    layers=3,
    heads=2,
    intermediate=320,
    max_positions=64,
    region_width=48,
)
"""All sizes differ, so that a test notices if one takes the place of another."""

AUDIO = 24
WORDS = "uniter.embeddings.word_embeddings.embedding_table"
LINEAR = "uniter.img_embeddings.img_linear.weight"


def _filled(shapes: Shapes, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    out = {}
    for name, shape in shapes.items():
        value = rng.normal(0, 0.15, shape)
        out[name] = (1 + value if name.endswith("gamma") else value).astype(np.float32)
    return out


def _dense(name: str, outputs: int, inputs: int) -> Shapes:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def _norm(name: str, width: int) -> Shapes:
    return {f"{name}.gamma": (width,), f"{name}.beta": (width,)}


def _blocks(prefix: str, count: int, width: int, inner: int, in_out: bool) -> Shapes:
    out = {}
    for i in range(count):
        name = f"{prefix}blocks.{i}."
        out |= _norm(f"{name}layernorm1", width) | _norm(f"{name}layernorm2", width)
        for part in ("dense1", "dense2", "dense3", "projection"):
            out |= _dense(f"{name}attention.{part}", width, width)
        mapping, projection = ((width, inner), (inner, width)) if in_out else ((inner, width), (width, inner))
        out |= {
            f"{name}output.mapping.weight": mapping,
            f"{name}output.mapping.bias": (inner,),
            f"{name}output.projection.weight": projection,
            f"{name}output.projection.bias": (width,),
        }
    return out


def _text(c: SingleStreamConfig) -> Shapes:
    e = "uniter.embeddings."
    return {
        WORDS: (c.vocab_size, c.hidden_size),
        f"{e}position_embeddings.embedding_table": (c.max_positions, c.hidden_size),
        f"{e}token_type_embeddings.embedding_table": (3, c.hidden_size),
        **_norm(f"{e}layernorm", c.hidden_size),
    }


def _audio(c: SingleStreamConfig) -> Shapes:
    a = "uniter.audio_embeddings."
    return {
        **_dense(f"{a}audio_linear", c.hidden_size, AUDIO),
        **_norm(f"{a}audio_layer_norm", c.hidden_size),
        f"{a}position_embeddings.embedding_table": (c.max_positions, c.hidden_size),
        f"{a}mask_embedding.embedding_table": (2, AUDIO),
        **_norm(f"{a}LayerNorm", c.hidden_size),
    }


def _image(c: SingleStreamConfig, features: int) -> Shapes:
    e = "uniter.img_embeddings."
    return {
        **_dense(f"{e}img_linear", c.hidden_size, features),
        **_norm(f"{e}img_layer_norm", c.hidden_size),
        f"{e}mask_embedding.embedding_table": (2, features),
        **_norm(f"{e}LayerNorm", c.hidden_size),
    }


def v1_shapes(c: SingleStreamConfig = SMALL_V1) -> Shapes:
    """List the parameters of the fine-tuned retrieval network (OPT specification, 3.1)."""
    e, v = "uniter.img_embeddings.", "uniter.img_embeddings.vit."
    return {
        **_text(c),
        **_image(c, c.image_width),
        f"{e}position_embeddings.embedding_table": (c.max_positions, c.hidden_size),
        f"{v}encoder_pos_embedding": (1, c.grid**2 + 1, c.image_width),
        **_dense(f"{v}stem.patch_to_embedding.dense", c.image_width, 3 * c.patch_size**2),
        **_norm(f"{v}norm", c.image_width),
        **_blocks(f"{v}encoder.", c.image_layers, c.image_width, c.image_intermediate, True),
        **_audio(c),
        **_blocks("uniter.encoder.encoder.", c.layers, c.hidden_size, c.intermediate, True),
        **_dense("uniter.pooler.dense", c.hidden_size, c.hidden_size),
        **_dense("rank_output", 1, c.hidden_size),
    }


def v1_weights(seed: int = 0) -> dict[str, np.ndarray]:
    """Make the weights of a fine-tuned V1 file."""
    return _filled(v1_shapes(), seed)


def v1_pretraining_weights(seed: int = 0) -> dict[str, np.ndarray]:
    """Make the weights of a V1 pre-training file (OPT specification, 3.2).

    Tied weights have the names of the heads, and the rank head is a row of the ITM head.
    """
    weights, c = v1_weights(seed), SMALL_V1
    tied = {
        "cls.predictions.decoder.weight": WORDS,
        "feat_regress.weight": LINEAR,
        "audio_feat_regress.weight": "uniter.audio_embeddings.audio_linear.weight",
    }
    for head, name in tied.items():
        weights[head] = weights.pop(name)
    itm = _filled(_dense("itm_output", 5, c.hidden_size), seed + 100)
    for part in ("weight", "bias"):
        itm[f"itm_output.{part}"][2:3] = weights.pop(f"rank_output.{part}")
    h = c.hidden_size
    heads = {
        **_dense("cls.predictions.transform.dense", h, h),
        **_norm("cls.predictions.transform.LayerNorm", h),
        "cls.predictions.decoder.bias": (c.vocab_size,),
        **_dense("region_classifier.dense_1", h, h),
        **_norm("region_classifier.layer_norm", h),
        **_dense("region_classifier.dense_2", 1601, h),
        **_dense("feat_regress.dense", h, h),
        **_norm("feat_regress.layer_norm", h),
        "feat_regress.bias": (c.image_width,),
        **_dense("audio_feat_regress.dense", h, h),
        **_norm("audio_feat_regress.layer_norm", h),
        "audio_feat_regress.bias": (AUDIO,),
        "txt_output.decoder.weight": (9, 8),
        "img_output.bias": (8,),
    }
    moments = {f"adam_m.{name}": np.zeros_like(value) for name, value in weights.items()}
    return weights | itm | _filled(heads, seed + 200) | moments | OPTIMIZER


def zoo_shapes(c: SingleStreamConfig = SMALL_ZOO) -> Shapes:
    """List the parameters of the trunk (OPT specification, 3.4) with a rank head."""
    e = "uniter.img_embeddings."
    return {
        **_text(c),
        **_image(c, c.region_width),
        **_norm(f"{e}pos_layer_norm", c.hidden_size),
        **_dense(f"{e}pos_linear", c.hidden_size, 7),
        **_audio(c),
        **_blocks("uniter.encoder.encoder.", c.layers, c.hidden_size, c.intermediate, False),
        **_dense("uniter.pooler.dense", c.hidden_size, c.hidden_size),
        **_dense("rank_output", 1, c.hidden_size),
    }


def zoo_weights(seed: int = 0) -> dict[str, np.ndarray]:
    """Make the weights of a file of the model zoo's retrieval network."""
    return _filled(zoo_shapes(), seed)


def write_single_stream(folder: Path, weights: dict[str, np.ndarray], name: str = "single_stream.ckpt") -> Path:
    """Write a checkpoint, with its vocabulary beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(PIECES) + "\n", encoding="utf-8")
    return write_checkpoint(folder / name, weights)


def detections(
    count: int, width: int = SMALL_ZOO.region_width, seed: int = 0, size: tuple[int, int] = (640, 480)
) -> dict[str, np.ndarray]:
    """Make the arrays of a detector's `.npz` for a photo of `size`, with the model zoo's names."""
    rng = np.random.default_rng([seed, count])
    corners = np.sort(rng.uniform(0, 1, (count, 2, 2)), axis=1) * size
    return {
        "feat": rng.normal(0, 1, (count, width)).astype(np.float32),
        "pred_boxes": corners.reshape(count, 4).astype(np.float32),
        "scores": rng.uniform(size=count),
        "pred_classes": rng.integers(0, 1601, count),
        "width": np.array(size[0]),
        "height": np.array(size[1]),
    }


def write_detections(path: Path, count: int = 5, **options: Any) -> Path:
    """Write a detector's `.npz`. `options`: see `detections`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **detections(count, **options))
    return path
