"""The published single-stream OPTs, Taichu-OPT-v1 and the model zoo's: their sizes and the tensors that they need.

Pure functions over names and shapes (OPT specification, 2.1, 2.2, 3.1, 3.2 and 3.4): no file, no MindSpore.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from encoder.errors import UnusableForm
from encoder.importing.checkpoint_shapes import Shapes, Sizes, block, dense, heads_of, norm, square_side, usual_length
from encoder.inputs.regions import GEOMETRY
from encoder.single_stream_config import SINGLE_STREAM_PRESETS, SingleStreamConfig

WORDS = "uniter.embeddings.word_embeddings.embedding_table"
LINEAR = "uniter.img_embeddings.img_linear.weight"
TIED = {"cls.predictions.decoder.weight": WORDS, "feat_regress.weight": LINEAR}
"""Names of tied weights in a pre-training file, which has them in heads."""

ROWS = {"rank_output.weight": ("itm_output.weight", 2), "rank_output.bias": ("itm_output.bias", 2)}
"""Parameters that a pre-training file lacks, and the row to take them from: the ITM class of a text and an image that match.

The zoo's own retrieval script ranks by class 0, a pair where both were replaced; its fine-tuning begins with row 2.
"""

AUDIO = re.compile(r"uniter\.audio_embeddings\.|audio_feat_regress\.")
HEADS = re.compile(r"region_classifier\.|feat_regress\.(dense|layer_norm|bias)")
ITM = re.compile(r"itm_output\.")
ZOO_DEAD = re.compile(r"uniter\.img_embeddings\.mask_embedding\.")
AUDIO_AND_HEADS = (
    ("audio, which is masked in retrieval", AUDIO),
    ("heads used in pre-training only", HEADS),
    ("the ITM head, of which ranking takes one row", ITM),
)
ZOO_RULES = (*AUDIO_AND_HEADS, ("dead in retrieval", ZOO_DEAD))

EMBEDDINGS, IMAGES, TRUNK = "uniter.embeddings.", "uniter.img_embeddings.", "uniter.encoder.encoder."
VIT = f"{IMAGES}vit."


def v1_config(shapes: Shapes) -> SingleStreamConfig:
    """The config of a V1 checkpoint, told by its shapes; sizes that they don't show are the published ones.

    Raises:
        UnusableForm: a size is impossible.
    """
    base, size = SINGLE_STREAM_PRESETS["opt-v1"], Sizes(shapes)
    width = usual_length(shapes, VIT) or base.image_width
    inputs = size.of(f"{VIT}stem.patch_to_embedding.dense.weight", 1, 3 * base.patch_size**2)
    patch = square_side(inputs / 3, f"A patch has {inputs} numbers, which is not three colours of a square.")
    table = f"{VIT}encoder_pos_embedding"
    vit_positions = size.of(table, 1, base.grid**2 + 1)
    positions = size.of(f"{IMAGES}position_embeddings.embedding_table", 0, vit_positions)
    patches = vit_positions - 1
    if table in shapes and positions < patches:
        raise UnusableForm(f"The image's table of positions has {positions} rows, too few for {patches} patches.")
    side = square_side(patches, f"The ViT has {vit_positions} positions, which is not a square of patches and one more.")
    hidden = usual_length(shapes, TRUNK) or base.hidden_size
    sizes = _single_stream_sizes(size, base, hidden) | dict(
        image_size=patch * side,
        patch_size=patch,
        image_width=width,
        image_layers=size.layers(f"{VIT}encoder.blocks.", base.image_layers),
        image_heads=16 if hidden == 4096 else heads_of(width),
        image_intermediate=size.of(f"{VIT}encoder.blocks.0.output.mapping.weight", 1, 4 * width),
        intermediate=size.of(f"{TRUNK}blocks.0.output.mapping.weight", 1, 4 * hidden),
    )
    return _checked(base, sizes)


def zoo_config(shapes: Shapes) -> SingleStreamConfig:
    """The config of a checkpoint of the model zoo's OPT, told by its shapes as in `v1_config`."""
    base, size = SINGLE_STREAM_PRESETS["opt-zoo-trunk"], Sizes(shapes)
    hidden = usual_length(shapes, TRUNK) or base.hidden_size
    sizes = _single_stream_sizes(size, base, hidden) | dict(
        region_width=size.of(LINEAR, 1, base.region_width),
        intermediate=size.of(f"{TRUNK}blocks.0.output.mapping.weight", 0, 4 * hidden),
    )
    return _checked(base, sizes)


def v1_shapes(config: SingleStreamConfig) -> Shapes:
    """The shape of every parameter that ranking with a V1 network needs."""
    width = config.image_width
    out = _single_stream_shapes(config, width) | {
        f"{IMAGES}position_embeddings.embedding_table": (config.max_positions, config.hidden_size),
        f"{IMAGES}mask_embedding.embedding_table": (2, width),
        f"{VIT}encoder_pos_embedding": (1, config.grid**2 + 1, width),
        **dense(f"{VIT}stem.patch_to_embedding.dense", width, 3 * config.patch_size**2),
        **norm(f"{VIT}norm", width),
    }
    for i in range(config.image_layers):
        out |= block(f"{VIT}encoder.blocks.{i}.", width, config.image_intermediate)
    return out


def zoo_shapes(config: SingleStreamConfig) -> Shapes:
    """The shape of every parameter that ranking with the model zoo's OPT needs."""
    return _single_stream_shapes(config, config.region_width) | {
        **dense(f"{IMAGES}pos_linear", config.hidden_size, GEOMETRY),
        **norm(f"{IMAGES}pos_layer_norm", config.hidden_size),
    }


def _single_stream_sizes(size: Sizes, base: SingleStreamConfig, hidden: int) -> dict[str, Any]:
    positions = size.of(f"{EMBEDDINGS}position_embeddings.embedding_table", 0, base.max_positions)
    return dict(
        hidden_size=hidden,
        heads=heads_of(hidden),
        vocab_size=size.of(WORDS, 0, base.vocab_size),
        max_positions=positions,
        type_vocab_size=size.of(f"{EMBEDDINGS}token_type_embeddings.embedding_table", 0, base.type_vocab_size),
        text_length=min(base.text_length, positions),
        layers=size.layers(f"{TRUNK}blocks.", base.layers),
    )


def _checked(base: SingleStreamConfig, sizes: dict[str, Any]) -> SingleStreamConfig:
    config = dataclasses.replace(base, **sizes)
    if config.type_vocab_size < 2:
        raise UnusableForm(
            f"The table of token types has {config.type_vocab_size} rows: it needs one for text and one for images."
        )
    return config


def _single_stream_shapes(config: SingleStreamConfig, features: int) -> Shapes:
    width = config.hidden_size
    out = {
        WORDS: (config.vocab_size, width),
        f"{EMBEDDINGS}position_embeddings.embedding_table": (config.max_positions, width),
        f"{EMBEDDINGS}token_type_embeddings.embedding_table": (config.type_vocab_size, width),
        **norm(f"{EMBEDDINGS}layernorm", width),
        **dense(f"{IMAGES}img_linear", width, features),
        **norm(f"{IMAGES}img_layer_norm", width),
        **norm(f"{IMAGES}LayerNorm", width),
        **dense("uniter.pooler.dense", width, width),
        **dense("rank_output", 1, width),
    }
    for i in range(config.layers):
        out |= block(f"{TRUNK}blocks.{i}.", width, config.intermediate, config.in_out)
    return out
