"""The published captioners: Taichu-OPT-CAP, and those of Taichu-OPT-v1 and of the model zoo.

Pure functions over names and shapes (OPT specification, captions): no file, no MindSpore.
"""

from __future__ import annotations

import dataclasses
import re

from encoder.captioner_config import (
    OPT_CAP,
    V1_CAPTION,
    ZOO_CAPTION,
    CaptionerConfig,
    CaptioningConfig,
    TextOutputConfig,
)
from encoder.config import OptConfig
from encoder.errors import UnusableForm
from encoder.importing import published_single_stream as single_stream
from encoder.importing.checkpoint_shapes import Shapes, Sizes, attention, block, dense, heads_of, norm, usual_length
from encoder.single_stream_config import SingleStreamConfig

CAP_PIXELS = 384
"""The side of the photos of OPT-CAP, which has the names of a file for retrieval."""

SPELLINGS = ((re.compile(r"txt_output\.tfm_decoder\.decoder\.tfm_decoder\."), "txt_output.tfm_decoder."),)
"""How the original's generating network spells its decoder."""

IMAGES = single_stream.IMAGES
OUTPUT = "txt_output."
TABLE = f"{OUTPUT}tfm_embedding_lookup.embedding_table"

TEXTS = re.compile(r"uniter\.embeddings\.(word_embeddings|position_embeddings|layernorm)\.|cls\.predictions\.")
MASK = re.compile(r"uniter\.img_embeddings\.mask_embedding\.")
POOLER = re.compile(r"uniter\.pooler\.")
OTHER_DECODERS = re.compile(r"(img|audio)_output\.")
SCORES = re.compile(r"(itm_output|rank_output|region_classifier)\.|feat_regress\.(dense|layer_norm|bias)")
CAP_SCORES = re.compile(r"(text_proj|vision_proj|itm_head_two|itm_output)\.|clip_loss\.clip_temp$|clip_temp$")
CAP_DEAD = re.compile(
    r"uniter\.pooler\.|uniter\.img_embeddings\.vit\.position_ids$|"
    r"uniter\.img_embeddings\.(img_linear|img_layer_norm|LayerNorm|mask_embedding|position_embeddings)\."
)
CAP_RULES = (
    ("decoders that OPT-CAP writes without", re.compile(r"(txt|img|audio)_output\.")),
    ("vectors and match scores, which captioning doesn't need", CAP_SCORES),
    ("dead in captioning", CAP_DEAD),
)
RULES = (
    ("embeddings and heads of texts: captions have a table of their own", TEXTS),
    ("audio, which captioning doesn't read", single_stream.AUDIO),
    ("mask embedding, which captioning doesn't add", MASK),
    ("pooler and scores of pairs", POOLER),
    ("pooler and scores of pairs", SCORES),
    ("decoders of images and audio", OTHER_DECODERS),
)


def writes(form: str, shapes: Shapes) -> bool:
    """Whether a checkpoint is a captioner's.

    V2's has the names of one for retrieval, and photos of 384 pixels. The others' have a decoder, and no head for pairs.
    """
    if form == "V2":
        patch = Sizes(shapes).of("uniter.img_embeddings.vit.patch_embed.weight", 2, 0)
        positions = Sizes(shapes).of("uniter.img_embeddings.vit.pos_embed.embedding_table", 0, 0)
        return "cls.predictions.transform.dense.weight" in shapes and (positions - 1) * patch**2 == CAP_PIXELS**2
    return TABLE in shapes and not any(name in shapes for pair in single_stream.ROWS.items() for name in (pair[0], pair[1][0]))


def cap_config(encoder: OptConfig) -> CaptionerConfig:
    """The config of OPT-CAP, from that of an encoder of the same shapes."""
    return dataclasses.replace(
        OPT_CAP,
        hidden_size=encoder.hidden_size,
        vocab_size=encoder.vocab_size,
        heads=encoder.text_heads,
        text_layers=encoder.text_layers,
        text_intermediate=encoder.text_intermediate,
        fusion_layers=encoder.fusion_layers,
        fusion_intermediate=encoder.fusion_intermediate,
        max_positions=encoder.max_positions,
        type_vocab_size=encoder.type_vocab_size,
        image_tokens=encoder.token_shape[0],
        caption_length=min(OPT_CAP.caption_length, encoder.max_positions),
        image_size=encoder.image_size,
        patch_size=encoder.patch_size,
        image_layers=encoder.image_layers,
        image_heads=encoder.image_heads,
        image_intermediate=encoder.image_intermediate,
    )


def cap_shapes(config: CaptionerConfig, of_encoder: Shapes) -> Shapes:
    """The shape of every parameter that OPT-CAP needs.

    Args:
        of_encoder: those of the encoder that `encoder_beside` gives.
    """
    width = config.hidden_size
    kept = {name: shape for name, shape in of_encoder.items() if not CAP_SCORES.match(name)}
    return kept | {
        **dense("cls.predictions.transform.dense", width, width),
        **norm("cls.predictions.transform.LayerNorm", width),
        "cls.predictions.decoder.bias": (config.vocab_size,),
    }


def v1_config(shapes: Shapes) -> TextOutputConfig:
    """The config of V1's captioner, told by its shapes; sizes that they don't show are the published ones.

    Of the tables of positions only the image's is read.
    """
    trunk = single_stream.v1_config(shapes)
    positions = Sizes(shapes).of(f"{IMAGES}position_embeddings.embedding_table", 0, trunk.max_positions)
    return _output_config(V1_CAPTION, shapes, dataclasses.replace(trunk, max_positions=positions))


def zoo_config(shapes: Shapes) -> TextOutputConfig:
    """The config of the model zoo's captioner, as in `v1_config`."""
    return _output_config(ZOO_CAPTION, shapes, single_stream.zoo_config(shapes))


def _output_config(base: TextOutputConfig, shapes: Shapes, trunk: SingleStreamConfig) -> TextOutputConfig:
    size = Sizes(shapes)
    width = usual_length(shapes, OUTPUT) or base.width
    return dataclasses.replace(
        base,
        trunk=trunk,
        width=width,
        heads=heads_of(width),
        intermediate=size.of(f"{OUTPUT}tfm_decoder.blocks.0.output.mapping.weight", 0, 4 * width),
        encoder_layers=size.layers(f"{OUTPUT}tfm_encoder.blocks.", base.encoder_layers),
        decoder_layers=size.layers(f"{OUTPUT}tfm_decoder.blocks.", base.decoder_layers),
        vocab_size=size.of(TABLE, 0, base.vocab_size),
    )


def v1_shapes(config: TextOutputConfig) -> Shapes:
    """The shape of every parameter that V1's captioner needs."""
    return _read(single_stream.v1_shapes(config.trunk)) | _output_shapes(config)


def zoo_shapes(config: TextOutputConfig) -> Shapes:
    """The shape of every parameter that the model zoo's captioner needs."""
    return _read(single_stream.zoo_shapes(config.trunk)) | _output_shapes(config)


def _read(trunk: Shapes) -> Shapes:
    """Those parameters of a trunk that captioning reads."""
    return {name: shape for name, shape in trunk.items() if not any(pattern.match(name) for _, pattern in RULES)}


def _output_shapes(config: TextOutputConfig) -> Shapes:
    width, inner = config.width, config.intermediate
    out = {TABLE: (config.vocab_size, width), **dense(f"{OUTPUT}LinearEmbedding", width, config.trunk.hidden_size)}
    for i in range(config.encoder_layers):
        out |= block(f"{OUTPUT}tfm_encoder.blocks.{i}.", width, inner, in_out=False)
    for i in range(config.decoder_layers):
        name = f"{OUTPUT}tfm_decoder.blocks.{i}."
        out |= block(name, width, inner, in_out=False) | attention(f"{name}cross_attention.", width)
        out |= norm(f"{name}cross_attention_layernorm", width)
    return out


def as_published(config: CaptioningConfig) -> CaptioningConfig:
    """The config of a captioner that runs as its published scripts ran it, where that is not what it was trained for.

    Raises:
        UnusableForm: the scripts ran it as it is meant.
    """
    if isinstance(config, CaptionerConfig):
        return dataclasses.replace(config, name=f"{config.name}-published", bidirectional=True)
    if config.trunk.regions:
        raise UnusableForm("the model zoo's captioner is run in one way only; import it without --published.")
    return dataclasses.replace(config, name=f"{config.name}-published", last_patch=True)
