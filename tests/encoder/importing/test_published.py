"""Names and shapes tell which OPT a file holds, its sizes, and the tensors that a search needs."""

from __future__ import annotations

import ast
import dataclasses
from pathlib import Path
from typing import Any

import pytest
from mindspore import nn

from encoder.config import PRESETS
from encoder.errors import UnusableForm
from encoder.importing import published
from encoder.importing import published_single_stream as single_stream
from encoder.importing.checkpoint_shapes import Shapes, heads_of, slices_of
from encoder.network.opt import OptModel
from encoder.network.single_stream import SingleStreamModel
from encoder.single_stream_config import SINGLE_STREAM_PRESETS
from tests.support.published_models import SMALL_PUBLISHED
from tests.support.published_single_stream import SMALL_V1, SMALL_ZOO

DATA = Path(__file__).parents[2] / "data"


def listed(name: str) -> Shapes:
    rows = (line.split("\t") for line in (DATA / name).read_text().splitlines())
    return {tensor: tuple(ast.literal_eval(shape)) for tensor, shape in rows}


BASE, V1, ZOO = (listed(f"{name}_parameters.tsv") for name in ("v2_base", "v1_retrieval", "zoo_trunk"))


def live(shapes: Shapes, form: str = "V2") -> Shapes:
    return {name: shape for name, shape in shapes.items() if published.FORMS[form].ignored_because(name) is None}


def test_the_published_base_is_recognised_and_nothing_is_left_over():
    config = published.v2_config(BASE)
    assert published.form_of(BASE) == "V2"
    assert config == dataclasses.replace(PRESETS["opt-v2-base"], published_extras=False)
    assert published.v2_shapes(config) == live(BASE)


def test_the_needed_shapes_are_those_of_the_network():
    config = dataclasses.replace(SMALL_PUBLISHED, published_extras=False)
    network: nn.Cell = OptModel(config)
    assert published.v2_shapes(config) == {name: tuple(p.shape) for name, p in network.parameters_and_names()}


@pytest.mark.parametrize("positions, side", [(577, 384), (901, 480)])
def test_caption_and_vqa_checkpoints_read_larger_photos(positions, side):
    config = published.v2_config(BASE | {"uniter.img_embeddings.vit.pos_embed.embedding_table": (positions, 768)})
    assert (config.image_size, config.patch_size, config.token_shape) == (side, 16, (positions, 768))
    assert config.name == "opt-v2"


def test_the_large_one_is_told_by_its_shapes():
    large = dataclasses.replace(
        PRESETS["opt-v2-base"],
        name="opt-v2",
        hidden_size=1024,
        text_layers=12,
        text_heads=16,
        text_intermediate=4096,
        fusion_layers=12,
        fusion_intermediate=4096,
        itm_hidden=2048,
        image_size=336,
        patch_size=14,
        image_layers=24,
        image_heads=16,
        image_intermediate=4096,
        published_extras=False,
    )
    assert published.v2_config(published.v2_shapes(large)) == large


def test_missing_tensors_leave_the_published_size():
    without = {name: shape for name, shape in BASE.items() if not name.startswith(("text_proj", "uniter.embeddings.encoder"))}
    config = published.v2_config(without)
    assert (config.dim, config.text_layers) == (512, 6)


@pytest.mark.parametrize("shapes, form", [(V1, "V1"), (ZOO, "ZOO"), (BASE, "V2"), ({}, None), ({"fc.weight": (3, 4)}, None)])
def test_each_form_is_told_by_its_names(shapes, form):
    assert published.form_of(shapes) == form


def test_a_pretraining_file_of_v1_is_recognised():
    tied = {
        "uniter.embeddings.word_embeddings.embedding_table": "cls.predictions.decoder.weight",
        "uniter.img_embeddings.img_linear.weight": "feat_regress.weight",
    }
    shapes = {tied.get(name, name): shape for name, shape in V1.items() if not name.startswith("rank_output")}
    assert published.form_of(shapes | {"itm_output.weight": (5, 2048)}) == "V1"


def test_optimizer_state_alone_tells_no_form():
    assert published.form_of([f"moment1.{name}" for name in BASE] + ["global_step"]) is None


def test_a_checkpoint_of_another_network_is_refused_in_one_line():
    with pytest.raises(UnusableForm, match="no OPT that is known") as error:
        published.usable_form({"fc.weight": (3, 4)}, Path("file.ckpt"))
    assert "\n" not in str(error.value) and "file.ckpt" in str(error.value) and "Taichu-OPT-v2" in str(error.value)


def test_the_published_v1_is_recognised_and_nothing_is_left_over():
    config = single_stream.v1_config(V1)
    assert config == SINGLE_STREAM_PRESETS["opt-v1"]
    assert single_stream.v1_shapes(config) == live(V1, "V1")
    assert (config.token_shape, config.text_length, config.grid) == ((196, 768), 50, 14)


def test_the_published_trunk_of_the_zoo_is_recognised_and_lacks_only_a_head():
    config = single_stream.zoo_config(ZOO)
    assert config == SINGLE_STREAM_PRESETS["opt-zoo-trunk"]
    assert single_stream.zoo_shapes(config) == live(ZOO, "ZOO") | {"rank_output.weight": (1, 768), "rank_output.bias": (1,)}
    assert (config.token_shape, config.text_length) == ((30, 768), 30)


@pytest.mark.parametrize("form, config", [("V1", SMALL_V1), ("ZOO", SMALL_ZOO)])
def test_the_needed_shapes_of_a_single_stream_are_those_of_its_network(form, config):
    single: Any = published.FORMS[form]
    needed = single.shapes(config)
    assert needed == {name: tuple(p.shape) for name, p in SingleStreamModel(config).parameters_and_names()}
    assert single.network(needed) == (config, needed)


@pytest.mark.parametrize(
    "preset, sizes, heads",
    [
        ("opt-v1", dict(hidden_size=4096, layers=48, heads=32, intermediate=16384, image_heads=16), (32, 16)),
        ("opt-zoo-trunk", dict(hidden_size=4096, layers=24, heads=32, intermediate=16384), (32, 0)),
    ],
)
def test_the_large_ones_have_wider_heads(preset, sizes, heads):
    form: Any = published.FORMS["V1" if preset == "opt-v1" else "ZOO"]
    large = dataclasses.replace(SINGLE_STREAM_PRESETS[preset], **sizes)
    assert form.config(form.shapes(large)) == large and (large.heads, large.image_heads) == heads
    assert heads_of(2048) == 32


@pytest.mark.parametrize(
    "changes, expected",
    [
        ({"uniter.img_embeddings.vit.encoder_pos_embedding": (1, 198, 768)}, "198 positions"),
        ({"uniter.img_embeddings.vit.stem.patch_to_embedding.dense.weight": (768, 3000)}, "3000 numbers"),
        ({"uniter.embeddings.token_type_embeddings.embedding_table": (1, 2048)}, "token types has 1"),
        ({"uniter.img_embeddings.position_embeddings.embedding_table": (100, 2048)}, "too few for 196"),
    ],
)
def test_impossible_sizes_of_v1_are_refused(changes, expected):
    with pytest.raises(UnusableForm, match=expected):
        published.FORMS["V1"].config(V1 | changes)


@pytest.mark.parametrize(
    "name, reason",
    [
        ("moment1.text_proj.weight", "optimizer"),
        ("moments.text_proj.weight", "optimizer"),
        ("adam_m.x", "optimizer"),
        ("adam_v.x", "optimizer"),
        ("global_step", "optimizer"),
        ("beta2_power", "optimizer"),
        ("scale_sense", "optimizer"),
        ("txt_output.decoder.weight", "decoders"),
        ("img_output.x", "decoders"),
        ("cls.predictions.decoder.bias", "masked"),
        ("uniter.pooler.dense.weight", "dead"),
        ("clip_temp", "dead"),
        ("uniter.img_embeddings.vit.position_ids", "dead"),
    ],
)
def test_ignored_tensors_have_their_reason(name, reason):
    assert (published.FORMS["V2"].ignored_because(name) or "").startswith(reason)


@pytest.mark.parametrize("name", [*published.v2_shapes(SMALL_PUBLISHED), "global_step_of_mine", "clip_temperature"])
def test_needed_and_unknown_tensors_are_not_ignored(name):
    assert published.FORMS["V2"].ignored_because(name) is None


@pytest.mark.parametrize(
    "changes, expected",
    [
        ({"uniter.img_embeddings.vit.pos_embed.embedding_table": (198, 768)}, "198 positions"),
        ({"uniter.embeddings.encoder.blocks.4000.layernorm1.gamma": (768,)}, "at most 96 layers"),
    ],
)
def test_impossible_sizes_are_refused(changes, expected):
    with pytest.raises(UnusableForm, match=expected):
        published.v2_config(BASE | changes)


def test_a_width_that_is_no_multiple_of_64_is_refused():
    with pytest.raises(UnusableForm, match="heads of 64"):
        published.v2_config(published.v2_shapes(dataclasses.replace(SMALL_PUBLISHED, hidden_size=100)))


def test_slices_of_a_model_parallel_run_are_told_from_other_shapes():
    expected = {"a": (8, 8), "b": (8,), "c": (8, 32)}
    assert slices_of(expected, {"a": (2, 8), "b": (2,), "c": (8, 8)}) == 4
    for wrong in ({"a": (2, 8), "b": (4,)}, {"a": (2, 2)}, {"a": (3, 8)}, {"a": (8,)}, {}):
        assert slices_of(expected, wrong) is None
