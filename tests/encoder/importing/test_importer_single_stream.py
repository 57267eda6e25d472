"""Checkpoints of OPT-v1 and of the model zoo's OPT become model folders: whole, exact, or not at all."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import load_file

from encoder import model_folder
from encoder.errors import BadCheckpoint
from encoder.importing.importer import import_model
from encoder.model_folder import read_config
from encoder.registry import ModelRegistry
from encoder.report import import_lines, list_lines, model_lines
from tests.encoder.importing.test_published import V1, ZOO
from tests.support.published_single_stream import (
    LINEAR,
    SMALL_V1,
    SMALL_ZOO,
    WORDS,
    v1_pretraining_weights,
    v1_shapes,
    v1_weights,
    write_single_stream,
    zoo_weights,
)

WEIGHTS = {"V1": v1_weights, "ZOO": zoo_weights}
LIVE_TABLE = "uniter.embeddings.position_embeddings.embedding_table"


@pytest.fixture
def models(tmp_path):
    return ModelRegistry(tmp_path / "home" / "models")


def imported(models, tmp_path, weights, name="small", **options):
    return import_model(write_single_stream(tmp_path / "files", weights), models, name, **options)


def refused(models, tmp_path, weights) -> str:
    with pytest.raises(BadCheckpoint) as error:
        imported(models, tmp_path, weights)
    assert "\n" not in str(error.value)
    assert models.names() == [] and not list(models.folder.glob(".tmp-*"))
    return str(error.value)


@pytest.mark.parametrize("form", ["V1", "ZOO"])
def test_every_number_stays_as_it_was_and_every_tensor_is_accounted_for(models, tmp_path, form):
    weights = WEIGHTS[form]()
    report = imported(models, tmp_path, weights)
    stored = load_file(models.path("small") / model_folder.WEIGHTS)
    for name, value in stored.items():
        np.testing.assert_array_equal(value, weights[name])
    assert (report.form, report.left_over, report.taken) == (form, [], {})
    assert report.loaded == len(stored) and report.loaded + sum(report.ignored.values()) == len(weights)
    assert report.ignored["audio, which is masked in retrieval"] == 8


@pytest.mark.parametrize("form, config", [("V1", SMALL_V1), ("ZOO", SMALL_ZOO)])
def test_every_size_is_read_off_the_shapes(models, tmp_path, form, config):
    imported(models, tmp_path, WEIGHTS[form]())
    assert read_config(models.path("small")) == config


def test_a_pretraining_file_makes_the_same_model(models, tmp_path):
    fine_tuned = imported(models, tmp_path, v1_weights(), "fine-tuned")
    report = imported(models, tmp_path, v1_pretraining_weights(), "pre-trained")
    assert report.fingerprint == fine_tuned.fingerprint
    assert report.taken == {"rank_output.weight": "row 2 of itm_output.weight", "rank_output.bias": "row 2 of itm_output.bias"}
    assert report.left_over == []
    assert report.loaded + sum(report.ignored.values()) == len(v1_pretraining_weights())
    assert report.ignored["heads used in pre-training only"] == 11
    lines = "\n".join(import_lines(report.as_json()))
    assert "Taichu-OPT-v1" in lines and "rank_output.weight is row 2 of itm_output.weight" in lines and "--reranker" in lines


def test_a_rank_head_is_preferred_to_the_itm_head(models, tmp_path):
    weights = v1_weights()
    report = imported(models, tmp_path, weights | {"itm_output.weight": np.ones((5, 192), np.float32)})
    stored = load_file(models.path("small") / model_folder.WEIGHTS)
    np.testing.assert_array_equal(stored["rank_output.weight"], weights["rank_output.weight"])
    assert report.ignored["the ITM head, of which ranking takes one row"] == 1 and report.taken == {}


@pytest.mark.parametrize("head, name", [("cls.predictions.decoder.weight", WORDS), ("feat_regress.weight", LINEAR)])
def test_tied_tables_that_differ_are_refused(models, tmp_path, head, name):
    weights = v1_weights()
    assert imported(models, tmp_path, weights | {head: weights[name]}, "same").ignored["second name of tied weights"] == 1
    with pytest.raises(BadCheckpoint, match="differ"):
        imported(models, tmp_path, weights | {head: weights[name] + 1}, "other")


@pytest.mark.parametrize(
    "form, name",
    [
        ("V1", WORDS),
        ("V1", LINEAR),
        ("V1", "uniter.img_embeddings.mask_embedding.embedding_table"),
        ("V1", "uniter.img_embeddings.vit.encoder_pos_embedding"),
        ("V1", "uniter.pooler.dense.bias"),
        ("ZOO", "uniter.img_embeddings.pos_linear.weight"),
        ("ZOO", "uniter.encoder.encoder.blocks.1.output.mapping.bias"),
        ("ZOO", LIVE_TABLE),
    ],
)
def test_a_missing_retrieval_weight_is_named(models, tmp_path, form, name):
    weights = WEIGHTS[form]()
    del weights[name]
    assert name in refused(models, tmp_path, weights)


@pytest.mark.parametrize(
    "form, name, shape",
    [
        ("V1", "uniter.encoder.encoder.blocks.1.output.mapping.weight", (320, 192)),
        ("ZOO", "uniter.encoder.encoder.blocks.0.output.projection.weight", (320, 128)),
        ("V1", "rank_output.weight", (2, 192)),
        ("ZOO", "uniter.img_embeddings.pos_linear.weight", (128, 6)),
    ],
)
def test_a_misshaped_weight_is_named_with_both_shapes(models, tmp_path, form, name, shape):
    weights = WEIGHTS[form]()
    message = refused(models, tmp_path, weights | {name: np.zeros(shape, np.float32)})
    assert f"{name} {list(shape)} instead of {list(weights[name].shape)}" in message


def test_a_captioning_checkpoint_is_refused(models, tmp_path):
    trunk = {name: value for name, value in zoo_weights().items() if not name.startswith("rank_output")}
    message = refused(models, tmp_path, trunk | {"txt_output.decoder.weight": np.ones((4, 3), np.float32)})
    assert "rank_output.weight" in message and "captioning" in message and "the model zoo's OPT" in message


def test_an_itm_head_that_is_too_short_is_refused(models, tmp_path):
    weights = {name: value for name, value in zoo_weights().items() if not name.startswith("rank_output")}
    message = refused(
        models,
        tmp_path,
        weights | {"itm_output.weight": np.ones((2, 128), np.float32), "itm_output.bias": np.ones(2, np.float32)},
    )
    assert "rank_output.weight [2, 128] instead of [1, 128]" in message


def test_slices_of_a_model_parallel_run_are_called_that(models, tmp_path):
    weights = v1_weights()
    for name, value in weights.items():
        if not name.startswith("uniter.encoder.encoder."):
            continue
        if name.endswith("output.mapping.weight"):
            weights[name] = value[:, : value.shape[1] // 4]
        elif (
            ".attention." in name
            and not name.endswith("projection.bias")
            or name.endswith(("output.mapping.bias", "output.projection.weight"))
        ):
            weights[name] = value[: len(value) // 4]
    assert "slices, 1/4" in refused(models, tmp_path, weights)


def test_unknown_tensors_are_listed_and_numbers_that_are_not_finite_refused(models, tmp_path):
    extra = {"uniter.img_embeddings.vit.class_token": np.ones((1, 1, 128), np.float32)}
    assert imported(models, tmp_path, v1_weights() | extra).left_over == ["uniter.img_embeddings.vit.class_token"]
    broken = v1_pretraining_weights()
    broken["itm_output.bias"][2] = np.inf
    with pytest.raises(BadCheckpoint, match="rank_output.bias has numbers that are not finite"):
        imported(models, tmp_path, broken, "broken")
    broken = v1_pretraining_weights()
    broken["itm_output.bias"][3] = np.inf  # a row that nothing reads
    assert imported(models, tmp_path, broken, "fine").left_over == []


def test_the_published_table_needs_bert_base_chinese(models, tmp_path):
    table = {WORDS: np.zeros((28996, SMALL_V1.hidden_size), np.float32)}
    assert "bert-base-chinese" in refused(models, tmp_path, v1_weights() | table)


def test_models_are_described_as_only_re_ranking_with_their_inputs(models, tmp_path):
    imported(models, tmp_path, v1_weights(), "v1")
    imported(models, tmp_path, zoo_weights(), "zoo")
    v1, zoo = (models.describe(name) for name in ("v1", "zoo"))
    assert (v1["dim"], v1["token_shape"], v1["layers"], v1["preprocessing"]) == (
        0,
        [9, 128],
        {"image": 2, "joint": 3},
        "resize_crop_cv",
    )
    assert (zoo["dim"], zoo["token_shape"], zoo["regions"], zoo["region_width"]) == (0, [30, 128], 30, 48)
    assert "no vectors" in "\n".join(model_lines(v1)) and "30 regions of a detector" in "\n".join(model_lines(zoo))
    assert sum("only re-ranks" in line for line in list_lines({"models": models.list()})) == 2


def test_the_small_weights_have_the_published_names():
    layers = {name for name in V1 if ".blocks." not in name}
    assert layers == {name for name in v1_shapes() if ".blocks." not in name}
    assert {name for name in ZOO if ".blocks." not in name} | {"rank_output.weight", "rank_output.bias"} == {
        name for name in zoo_weights() if ".blocks." not in name
    }
