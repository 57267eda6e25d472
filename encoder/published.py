"""What the published OPT checkpoints look like: which OPT a file is, its sizes, what of it a search needs.

Pure functions over names and shapes (OPT specification, sections 1, 3 and 8): no file, no MindSpore.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections import Counter

import numpy as np

from encoder.config import PRESETS, OptConfig
from encoder.errors import UnusableForm

Shapes = dict[str, tuple[int, ...]]

WORDS = "cls.predictions.decoder.weight"
ALIASES = {"uniter.embeddings.word_embeddings.embedding_table": WORDS}
"""Other names of tied weights: a parameter that two modules share keeps the name of one of them."""

CLIP_TEMP = "clip_loss.clip_temp"
DEFAULTS = {CLIP_TEMP: np.float32(math.log(1 / 0.07))}
"""What a ranking doesn't depend on, with the value it begins with in training: a file may lack it."""

HEAD_WIDTH = 64
MOST_LAYERS = 96

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
RULES = (
    ("optimizer state", OPTIMIZER),
    ("decoders of captions and images", DECODERS),
    ("masked-language head, used in training only", MLM),
    ("dead in retrieval", DEAD),
)

MARKS = {
    "V2": ("uniter.img_embeddings.vit.patch_embed.", "uniter.embeddings.encoder.blocks.", "uniter.encoder.decoder.blocks.",
           "uniter.img_embeddings.vit.class_embedding", "uniter.img_embeddings.vit.pre_layrnorm."),
    "ZOO": ("uniter.img_embeddings.pos_linear.", "uniter.img_embeddings.pos_layer_norm."),
    "V1": ("uniter.img_embeddings.vit.stem.", "uniter.img_embeddings.vit.encoder_pos_embedding",
           "uniter.img_embeddings.vit.encoder.blocks.", "uniter.encoder.encoder.blocks."),
}
"""Names that only one of the three has; asked in this order, for V1 and ZOO share the joint encoder's."""

REFUSALS = {
    "V1": "Taichu-OPT-v1 (448-pixel ViT-B/32, one joint encoder, no vectors to index); this version has no network for it yet",
    "ZOO": "the model zoo's OPT (region features of a detector, one joint encoder, no vectors to index); this version has no "
           "network for it yet",
}


def ignored_because(name: str) -> str | None:
    """Why a tensor is left out by rule, whatever its shape; None for what a search may need."""
    return next((reason for reason, pattern in RULES if pattern.match(name)), None)


def form_of(names) -> str | None:
    """"V2", "V1" or "ZOO", told by names alone; None where it is none of them."""
    names = [name for name in names if not OPTIMIZER.match(name)]
    return next((form for form, marks in MARKS.items() if any(name.startswith(marks) for name in names)), None)


def check_usable(form: str | None, where) -> None:
    """Raise UnusableForm, in one line, for all that is not V2."""
    if form is None:
        raise UnusableForm(f"{where} is no OPT that is known: it has none of the names of Taichu-OPT-v2 "
                           "(uniter.img_embeddings.vit.patch_embed.weight, ...); docs/models.md says what can be imported.")
    if form in REFUSALS:
        raise UnusableForm(f"{where} is {REFUSALS[form]}. What can be imported is Taichu-OPT-v2 (docs/models.md).")


def v2_config(shapes: Shapes) -> OptConfig:
    """The config that the shapes of a V2 checkpoint speak of; what they don't tell is as in the published base.

    Raises UnusableForm where a size cannot be: a grid that is no square, heads that can't be told.
    """
    base = PRESETS["opt-v2-base"]
    width = _width(shapes) or base.hidden_size
    if width % HEAD_WIDTH:
        raise UnusableForm(f"The hidden size is {width}: every OPT has heads of {HEAD_WIDTH} numbers, and it is no multiple.")
    vit, text, fusion = "uniter.img_embeddings.vit.", "uniter.embeddings.", "uniter.encoder.decoder."
    size = _Sizes(shapes)
    patch = size.of(f"{vit}patch_embed.weight", 2, base.patch_size)
    positions = size.of(f"{text}position_embeddings.embedding_table", 0, base.max_positions)
    sizes = dict(
        hidden_size=width, dim=size.of("text_proj.weight", 0, base.dim), vocab_size=size.of(WORDS, 0, base.vocab_size),
        max_positions=positions, text_length=min(base.text_length, positions),
        type_vocab_size=size.of(f"{text}token_type_embeddings.embedding_table", 0, base.type_vocab_size),
        text_layers=size.layers(f"{text}encoder.blocks.", base.text_layers), text_heads=width // HEAD_WIDTH,
        text_intermediate=size.of(f"{text}encoder.blocks.0.output.mapping.weight", 1, 4 * width),
        fusion_layers=size.layers(f"{fusion}blocks.", base.fusion_layers),
        fusion_intermediate=size.of(f"{fusion}blocks.0.output.mapping.weight", 1, 4 * width),
        itm_hidden=size.of("itm_head_two.0.weight", 0, 2 * width),
        image_layers=size.layers(f"{vit}encoder.layers.", base.image_layers), image_heads=width // HEAD_WIDTH,
        image_intermediate=size.of(f"{vit}encoder.layers.0.mlp.fc1.weight", 0, 4 * width),
        patch_size=patch, image_size=patch * _grid(size.of(f"{vit}pos_embed.embedding_table", 0, 1 + base.grid**2)),
    )
    config = dataclasses.replace(base, **sizes, name="opt-v2", published_extras=False, languages=("zh",))
    same = all(getattr(config, key) == getattr(base, key) for key in sizes)
    return dataclasses.replace(config, name=base.name) if same else config


def v2_shapes(config: OptConfig) -> Shapes:
    """Name -> shape of every parameter that a search with a V2 network needs, CLIP_TEMP among them."""
    width, dim, itm = config.hidden_size, config.dim, config.itm_hidden
    text = "uniter.embeddings."
    out = {
        WORDS: (config.vocab_size, width),
        f"{text}position_embeddings.embedding_table": (config.max_positions, width),
        f"{text}token_type_embeddings.embedding_table": (config.type_vocab_size, width),
        **_norm(f"{text}layernorm", width),
        **_vit(config),
        **_dense("text_proj", dim, width), **_dense("vision_proj", dim, width), CLIP_TEMP: (),
        **_dense("itm_head_two.0", itm, width), **_norm("itm_head_two.1", itm), **_dense("itm_head_two.3", 2, itm),
    }
    for i in range(config.text_layers):
        out |= _block(f"{text}encoder.blocks.{i}.", width, config.text_intermediate)
    for i in range(config.fusion_layers):
        name = f"uniter.encoder.decoder.blocks.{i}."
        out |= _block(name, width, config.fusion_intermediate) | _attention(f"{name}cross_attention.", width)
        out |= _norm(f"{name}cross_attention_layernorm", width)
    return out


def slices_of(expected: Shapes, found: Shapes) -> int | None:
    """n, where every tensor of `found` is what is expected but for one axis that is a whole n-th of it; else None."""
    parts = {_part(expected[name], shape) for name, shape in found.items()}
    return parts.pop() if len(parts) == 1 else None


def _part(expected: tuple[int, ...], found: tuple[int, ...]) -> int | None:
    if len(expected) != len(found):
        return None
    other = [(e, f) for e, f in zip(expected, found, strict=True) if e != f]
    if len(other) != 1 or not other[0][1] or other[0][0] % other[0][1]:
        return None
    return other[0][0] // other[0][1]


class _Sizes:
    """Sizes read off shapes, each with what to take where the tensor is missing or of another rank."""

    def __init__(self, shapes: Shapes):
        self._shapes = shapes

    def of(self, name: str, axis: int, otherwise: int) -> int:
        shape = self._shapes.get(name, ())
        return shape[axis] if len(shape) > axis and shape[axis] > 0 else otherwise

    def layers(self, prefix: str, otherwise: int) -> int:
        """One more than the highest number after the prefix: a layer that is missing between others is missed."""
        numbers = {name.removeprefix(prefix).split(".")[0] for name in self._shapes if name.startswith(prefix)}
        layers = [int(number) for number in numbers if number.isascii() and number.isdigit() and len(number) <= 4]
        if max(layers, default=0) >= MOST_LAYERS:
            raise UnusableForm(f"{prefix}{max(layers)} is there: an OPT has at most {MOST_LAYERS} layers.")
        return max(layers) + 1 if layers else otherwise


def _width(shapes: Shapes) -> int | None:
    """The length that most layer norms have: they are whole even where a run kept slices of the matrices."""
    lengths = Counter(shape[0] for name, shape in shapes.items()
                      if name.startswith("uniter.") and name.endswith(".gamma") and len(shape) == 1)
    return lengths.most_common(1)[0][0] if lengths else None


def _grid(positions: int) -> int:
    side = math.isqrt(max(positions - 1, 0))
    if side == 0 or side * side != positions - 1:
        raise UnusableForm(f"The image stream has {positions} positions, which is not a class token and a square of patches.")
    return side


def _vit(config: OptConfig) -> Shapes:
    width, inner, vit = config.hidden_size, config.image_intermediate, "uniter.img_embeddings.vit."
    out = {
        f"{vit}class_embedding": (width,),
        f"{vit}patch_embed.weight": (width, 3, config.patch_size, config.patch_size),
        f"{vit}pos_embed.embedding_table": (1 + config.grid**2, width),
        **_norm(f"{vit}pre_layrnorm", width), **_norm(f"{vit}post_layernorm", width),
    }
    for i in range(config.image_layers):
        layer = f"{vit}encoder.layers.{i}."
        for part in "qkv":
            out |= _dense(f"{layer}self_attn.{part}_proj", width, width)
        out |= _dense(f"{layer}self_attn.out_proj", width, width)
        out |= _norm(f"{layer}layer_norm1", width) | _norm(f"{layer}layer_norm2", width)
        out |= _dense(f"{layer}mlp.fc1", inner, width) | _dense(f"{layer}mlp.fc2", width, inner)
    return out


def _block(name: str, width: int, inner: int) -> Shapes:
    """The feed-forward's two are stored [in, out]; the attention's projection too, which its square shape doesn't tell."""
    return (_norm(f"{name}layernorm1", width) | _norm(f"{name}layernorm2", width) | _attention(f"{name}attention.", width)
            | {f"{name}output.mapping.weight": (width, inner), f"{name}output.mapping.bias": (inner,),
               f"{name}output.projection.weight": (inner, width), f"{name}output.projection.bias": (width,)})


def _attention(name: str, width: int) -> Shapes:
    parts = ("dense1", "dense2", "dense3", "projection")
    return {key: shape for part in parts for key, shape in _dense(f"{name}{part}", width, width).items()}


def _dense(name: str, outputs: int, inputs: int) -> Shapes:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def _norm(name: str, width: int) -> Shapes:
    return {f"{name}.gamma": (width,), f"{name}.beta": (width,)}
