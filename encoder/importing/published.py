"""The published OPT checkpoints: which OPT a file holds, its sizes, and the tensors that searching or captioning needs.

Pure functions over names and shapes (OPT specification, sections 1, 3 and 8): no file, no MindSpore.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np

from encoder.captioner_config import CaptionerConfig, TextOutputConfig
from encoder.config import PRESETS, OptConfig, encoder_beside
from encoder.errors import UnusableForm
from encoder.importing import published_captioners as captioners
from encoder.importing import published_single_stream as single_stream
from encoder.importing.checkpoint_shapes import (
    Shapes,
    Sizes,
    attention,
    block,
    dense,
    heads_of,
    norm,
    square_side,
    usual_length,
)
from encoder.single_stream_config import SingleStreamConfig

WORDS = "cls.predictions.decoder.weight"
ALIASES = {"uniter.embeddings.word_embeddings.embedding_table": WORDS}
"""Other names of tied weights: a parameter that two modules share has the name of either."""

CLIP_TEMP = "clip_loss.clip_temp"
DEFAULTS = {CLIP_TEMP: np.array(math.log(1 / 0.07), np.float32)}
"""Parameters that a file may lack, since no ranking depends on them, with their first values in training."""

OPTIMIZER = re.compile(
    r"(adam_[mv]|moments?[12]?|accum|velocity)\.|"
    r"(global_step|learning_rate|beta[12]_power|scale_sense|loss_scale|scaling_sens|current_iterator_step|"
    r"last_overflow_iterator_step|epoch_num|step_num|cur_step|momentum|weight_decay)$"
)
DECODERS = re.compile(r"(txt|img|audio)_output\.")
MLM = re.compile(r"cls\.predictions\.(transform\.|decoder\.bias$)")
DEAD = re.compile(
    r"(uniter\.pooler\.|itm_output\.|clip_temp$|uniter\.img_embeddings\.vit\.position_ids$|"
    r"uniter\.img_embeddings\.(img_linear|img_layer_norm|LayerNorm|mask_embedding|position_embeddings)\.)"
)
Rules = tuple[tuple[str, re.Pattern[str]], ...]
SHARED_RULES: Rules = (
    ("optimizer state", OPTIMIZER),
    ("decoders of captions and images", DECODERS),
    ("masked-language head, used in training only", MLM),
)

MARKS = {
    "V2": (
        "uniter.img_embeddings.vit.patch_embed.",
        "uniter.embeddings.encoder.blocks.",
        "uniter.encoder.decoder.blocks.",
        "uniter.img_embeddings.vit.class_embedding",
        "uniter.img_embeddings.vit.pre_layrnorm.",
    ),
    "ZOO": ("uniter.img_embeddings.pos_linear.", "uniter.img_embeddings.pos_layer_norm."),
    "V1": (
        "uniter.img_embeddings.vit.stem.",
        "uniter.img_embeddings.vit.encoder_pos_embedding",
        "uniter.img_embeddings.vit.encoder.blocks.",
        "uniter.encoder.encoder.blocks.",
    ),
}
"""Beginnings of names that only one OPT has, tried in this order: V1 and ZOO share the names of the single-stream encoder."""

SEARCH, CAPTIONS = "search", "captions"
PURPOSES = (SEARCH, CAPTIONS)
"""What a checkpoint is imported for."""

C = TypeVar("C", OptConfig, SingleStreamConfig, CaptionerConfig, TextOutputConfig)
Spellings = tuple[tuple[re.Pattern[str], str], ...]


@dataclass(frozen=True)
class Form(Generic[C]):
    """What must be known of one of the three OPTs to import its checkpoint.

    Attributes:
        key: "V2", "V1" or "ZOO".
        title: its name for people.
        config: makes a config of the shapes in a file.
        shapes: gives the shape of each parameter that a network of a config needs.
        rules: patterns of tensors to ignore, each with the reason.
        tied: other names of tied weights, each with the network's name.
        rows: parameters that a file may lack, each with the head and the row to take it from.
        defaults: parameters that a file may lack, each with the value to fill in.
        purpose: one of PURPOSES.
        spellings: other spellings of a part of names, each with the network's.
    """

    key: str
    title: str
    config: Callable[[Shapes], C]
    shapes: Callable[[C], Shapes]
    rules: Rules
    tied: Mapping[str, str]
    rows: Mapping[str, tuple[str, int]]
    defaults: Mapping[str, np.ndarray]
    purpose: str = SEARCH
    spellings: Spellings = ()

    def own_name(self, name: str) -> str | None:
        """The network's name of a tensor that has another one; None if it has that."""
        for pattern, own in self.spellings:
            if pattern.search(name):
                return pattern.sub(own, name)
        return self.tied.get(name)

    def ignored_because(self, name: str) -> str | None:
        """The reason of the rule that ignores a tensor; None if no rule does."""
        return next((reason for reason, pattern in self.rules if pattern.match(name)), None)

    def network(self, found: Shapes) -> tuple[C, Shapes]:
        """The config that the shapes in a file stand for, and the shapes that its network needs."""
        config = self.config(found)
        return config, self.shapes(config)


AnyForm = Form[OptConfig] | Form[SingleStreamConfig] | Form[CaptionerConfig] | Form[TextOutputConfig]


def form_of(names: Iterable[str]) -> str | None:
    """The OPT that tensors of these names belong to: "V2", "V1" or "ZOO"; None if it is none of them."""
    names = [name for name in names if not OPTIMIZER.match(name)]
    return next((form for form, marks in MARKS.items() if any(name.startswith(marks) for name in names)), None)


def usable_form(shapes: Shapes, where: Path, purpose: str | None = None) -> AnyForm:
    """The form of a checkpoint with tensors of these names and shapes.

    Args:
        where: the checkpoint.
        purpose: one of PURPOSES (default: what names and shapes say).

    Raises:
        UnusableForm: it is not an OPT.
    """
    key = form_of(shapes)
    if key is None:
        raise UnusableForm(
            f"{where} is no OPT that is known: it has none of the names of Taichu-OPT-v2 "
            "(uniter.img_embeddings.vit.patch_embed.weight, ...); docs/models.md says what can be imported."
        )
    named = {name: shape for name, shape in shapes.items() if not OPTIMIZER.match(name)}
    writes = captioners.writes(key, named) if purpose is None else purpose == CAPTIONS
    return CAPTION_FORMS[key] if writes else FORMS[key]


def v2_config(shapes: Shapes) -> OptConfig:
    """The config of a V2 checkpoint, told by its shapes; sizes that they don't show are those of the published base.

    Raises:
        UnusableForm: a size is impossible, such as a grid that is not a square.
    """
    base = PRESETS["opt-v2-base"]
    width = usual_length(shapes, "uniter.") or base.hidden_size
    heads = heads_of(width)
    vit, text, fusion = "uniter.img_embeddings.vit.", "uniter.embeddings.", "uniter.encoder.decoder."
    size = Sizes(shapes)
    patch = size.of(f"{vit}patch_embed.weight", 2, base.patch_size)
    image_positions = size.of(f"{vit}pos_embed.embedding_table", 0, 1 + base.grid**2)
    grid = square_side(
        image_positions - 1,
        f"The image stream has {image_positions} positions, which is not a class token and a square of patches.",
    )
    positions = size.of(f"{text}position_embeddings.embedding_table", 0, base.max_positions)
    sizes = dict(
        hidden_size=width,
        dim=size.of("text_proj.weight", 0, base.dim),
        vocab_size=size.of(WORDS, 0, base.vocab_size),
        max_positions=positions,
        text_length=min(base.text_length, positions),
        type_vocab_size=size.of(f"{text}token_type_embeddings.embedding_table", 0, base.type_vocab_size),
        text_layers=size.layers(f"{text}encoder.blocks.", base.text_layers),
        text_heads=heads,
        text_intermediate=size.of(f"{text}encoder.blocks.0.output.mapping.weight", 1, 4 * width),
        fusion_layers=size.layers(f"{fusion}blocks.", base.fusion_layers),
        fusion_intermediate=size.of(f"{fusion}blocks.0.output.mapping.weight", 1, 4 * width),
        itm_hidden=size.of("itm_head_two.0.weight", 0, 2 * width),
        image_layers=size.layers(f"{vit}encoder.layers.", base.image_layers),
        image_heads=heads,
        image_intermediate=size.of(f"{vit}encoder.layers.0.mlp.fc1.weight", 0, 4 * width),
        patch_size=patch,
        image_size=patch * grid,
    )
    config = dataclasses.replace(base, **sizes, name="opt-v2", published_extras=False, languages=("zh",))
    same = all(getattr(config, key) == getattr(base, key) for key in sizes)
    return dataclasses.replace(config, name=base.name) if same else config


def v2_shapes(config: OptConfig) -> Shapes:
    """The shape of every parameter that a search with a V2 network needs, and of CLIP_TEMP."""
    width, dim, itm = config.hidden_size, config.dim, config.itm_hidden
    text = "uniter.embeddings."
    out = {
        WORDS: (config.vocab_size, width),
        f"{text}position_embeddings.embedding_table": (config.max_positions, width),
        f"{text}token_type_embeddings.embedding_table": (config.type_vocab_size, width),
        **norm(f"{text}layernorm", width),
        **_vit(config),
        **dense("text_proj", dim, width),
        **dense("vision_proj", dim, width),
        CLIP_TEMP: (),
        **dense("itm_head_two.0", itm, width),
        **norm("itm_head_two.1", itm),
        **dense("itm_head_two.3", 2, itm),
    }
    for i in range(config.text_layers):
        out |= block(f"{text}encoder.blocks.{i}.", width, config.text_intermediate)
    for i in range(config.fusion_layers):
        name = f"uniter.encoder.decoder.blocks.{i}."
        out |= block(name, width, config.fusion_intermediate) | attention(f"{name}cross_attention.", width)
        out |= norm(f"{name}cross_attention_layernorm", width)
    return out


def _vit(config: OptConfig) -> Shapes:
    width, inner, vit = config.hidden_size, config.image_intermediate, "uniter.img_embeddings.vit."
    out = {
        f"{vit}class_embedding": (width,),
        f"{vit}patch_embed.weight": (width, 3, config.patch_size, config.patch_size),
        f"{vit}pos_embed.embedding_table": (1 + config.grid**2, width),
        **norm(f"{vit}pre_layrnorm", width),
        **norm(f"{vit}post_layernorm", width),
    }
    for i in range(config.image_layers):
        layer = f"{vit}encoder.layers.{i}."
        for part in "qkv":
            out |= dense(f"{layer}self_attn.{part}_proj", width, width)
        out |= dense(f"{layer}self_attn.out_proj", width, width)
        out |= norm(f"{layer}layer_norm1", width) | norm(f"{layer}layer_norm2", width)
        out |= dense(f"{layer}mlp.fc1", inner, width) | dense(f"{layer}mlp.fc2", width, inner)
    return out


FORMS: dict[str, AnyForm] = {
    "V2": Form(
        "V2", "Taichu-OPT-v2", v2_config, v2_shapes, (*SHARED_RULES, ("dead in retrieval", DEAD)), ALIASES, {}, DEFAULTS
    ),
    "V1": Form(
        "V1",
        "Taichu-OPT-v1",
        single_stream.v1_config,
        single_stream.v1_shapes,
        (*SHARED_RULES, *single_stream.AUDIO_AND_HEADS),
        single_stream.TIED,
        single_stream.ROWS,
        {},
    ),
    "ZOO": Form(
        "ZOO",
        "the model zoo's OPT",
        single_stream.zoo_config,
        single_stream.zoo_shapes,
        (*SHARED_RULES, *single_stream.ZOO_RULES),
        single_stream.TIED,
        single_stream.ROWS,
        {},
    ),
}


def cap_config(shapes: Shapes) -> CaptionerConfig:
    """The config of a checkpoint of OPT-CAP, told by its shapes as in `v2_config`."""
    return captioners.cap_config(v2_config(shapes))


def cap_shapes(config: CaptionerConfig) -> Shapes:
    """The shape of every parameter that captioning with OPT-CAP needs."""
    return captioners.cap_shapes(config, v2_shapes(encoder_beside(config)))


_STATE: Rules = (("optimizer state", OPTIMIZER),)

CAPTION_FORMS: dict[str, AnyForm] = {
    "V2": Form("V2", "Taichu-OPT-CAP", cap_config, cap_shapes, (*_STATE, *captioners.CAP_RULES), ALIASES, {}, {}, CAPTIONS),
    "V1": Form(
        "V1",
        "the captioner of Taichu-OPT-v1",
        captioners.v1_config,
        captioners.v1_shapes,
        (*_STATE, *captioners.RULES),
        {"feat_regress.weight": single_stream.LINEAR},
        {},
        {},
        CAPTIONS,
        captioners.SPELLINGS,
    ),
    "ZOO": Form(
        "ZOO",
        "the model zoo's captioner",
        captioners.zoo_config,
        captioners.zoo_shapes,
        (*_STATE, *captioners.RULES),
        {"feat_regress.weight": single_stream.LINEAR},
        {},
        {},
        CAPTIONS,
        captioners.SPELLINGS,
    ),
}
"""The same OPTs where they write captions."""
