"""A checkpoint becomes a model folder, whole and exact, or not at all."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from encoder import model_folder
from encoder.errors import BadCheckpoint, BadModelName, NotACheckpoint, UnknownModel, UnusableForm, UnusableModels
from encoder.importing import importer, published
from encoder.importing.importer import import_model
from encoder.registry import ModelRegistry
from encoder.report import import_lines, list_lines
from tests.support.ckpt_files import write_checkpoint
from tests.support.published_models import PIECES, SMALL_PUBLISHED, published_weights, training_weights, write_published

TABLE = "uniter.embeddings.word_embeddings.embedding_table"


@pytest.fixture
def models(tmp_path):
    return ModelRegistry(tmp_path / "home" / "models")


def imported(models, tmp_path, weights, name="small", **options):
    return import_model(write_published(tmp_path / "files", weights), models, name, **options)


def refused(models, tmp_path, weights, kind=BadCheckpoint) -> str:
    with pytest.raises(kind) as error:
        imported(models, tmp_path, weights)
    assert "\n" not in str(error.value)
    assert models.names() == [] and not list(models.folder.glob(".tmp-*"))
    return str(error.value)


def test_every_number_stays_as_it_was(models, tmp_path):
    weights = published_weights()
    imported(models, tmp_path, weights)
    stored = load_file(models.path("small") / model_folder.WEIGHTS)
    assert stored.keys() == published.v2_shapes(SMALL_PUBLISHED).keys()
    for name, value in stored.items():
        assert value.dtype == np.float32
        np.testing.assert_array_equal(value, weights[name])


def test_half_precision_stays_half(models, tmp_path):
    weights = {
        name: value.astype(np.float16) if value.ndim > 1 and value.dtype == np.float32 else value
        for name, value in published_weights().items()
    }
    imported(models, tmp_path, weights)
    stored = load_file(models.path("small") / model_folder.WEIGHTS)
    assert {value.dtype.name for value in stored.values()} == {"float16", "float32"}
    for name, value in stored.items():
        np.testing.assert_array_equal(value, weights[name])


def test_a_training_run_s_file_gives_the_same_model(models, tmp_path):
    first = imported(models, tmp_path, published_weights(), "first")
    second = imported(models, tmp_path, training_weights(), "second")
    assert first.fingerprint == second.fingerprint
    assert second.ignored["optimizer state"] == 2 * len(published_weights()) + 4
    assert second.ignored["decoders of captions and images"] == 2


def test_both_names_of_the_word_table_give_the_same_model(models, tmp_path):
    weights = published_weights()
    first = imported(models, tmp_path, weights, "first")
    both = imported(models, tmp_path, weights | {TABLE: weights[published.WORDS]}, "both")
    alias = dict(weights)
    alias[TABLE] = alias.pop(published.WORDS)
    alone = imported(models, tmp_path, alias, "alone")
    assert first.fingerprint == both.fingerprint == alone.fingerprint
    assert both.ignored["second name of tied weights"] == 1 and "second name of tied weights" not in alone.ignored


def test_two_tied_tables_that_differ_are_refused(models, tmp_path):
    weights = published_weights()
    message = refused(models, tmp_path, weights | {TABLE: weights[published.WORDS] + 1})
    assert TABLE in message and "differ" in message


def test_unknown_tensors_are_reported_and_left_out(models, tmp_path):
    report = imported(models, tmp_path, published_weights() | {"extra.weight": np.ones(3, np.float32)})
    assert report.left_over == ["extra.weight"]
    assert "extra.weight, which no rule knows" in "\n".join(import_lines(report.as_json()))


def test_a_missing_temperature_is_filled_in(models, tmp_path):
    weights = published_weights()
    del weights[published.CLIP_TEMP]
    report = imported(models, tmp_path, weights)
    assert report.filled_in == [published.CLIP_TEMP]
    assert load_file(models.path("small") / model_folder.WEIGHTS)[published.CLIP_TEMP] == pytest.approx(np.log(1 / 0.07))


@pytest.mark.parametrize(
    "name",
    [
        published.WORDS,
        "text_proj.weight",
        "itm_head_two.3.bias",
        "uniter.embeddings.encoder.blocks.0.output.mapping.weight",
        "uniter.img_embeddings.vit.class_embedding",
        "uniter.encoder.decoder.blocks.1.cross_attention.dense2.bias",
    ],
)
def test_a_missing_retrieval_weight_is_named(models, tmp_path, name):
    weights = published_weights()
    del weights[name]
    assert name in refused(models, tmp_path, weights)


def test_a_gap_between_layers_is_named(models, tmp_path):
    weights = {name: value for name, value in published_weights().items() if "decoder.blocks.1." not in name}
    message = refused(models, tmp_path, weights)
    assert "missing: uniter.encoder.decoder.blocks.1." in message and "and 22 more" in message


@pytest.mark.parametrize(
    "name, shape",
    [
        ("text_proj.bias", (33,)),
        ("uniter.embeddings.layernorm.gamma", (64,)),
        ("itm_head_two.3.weight", (5, 256)),
        ("uniter.embeddings.encoder.blocks.1.output.mapping.weight", (192, 128)),
    ],
)
def test_a_misshaped_weight_is_named_with_both_shapes(models, tmp_path, name, shape):
    weights = published_weights()
    message = refused(models, tmp_path, weights | {name: np.zeros(shape, np.float32)})
    assert f"{name} {list(shape)} instead of {list(weights[name].shape)}" in message


def test_slices_of_a_model_parallel_run_are_called_that(models, tmp_path):
    weights = published_weights()
    for name, value in weights.items():
        if ".attention." in name or "cross_attention.dense" in name:
            axis = 0 if not name.endswith("projection.bias") else None
            weights[name] = value if axis is None else value[: len(value) // 4]
        elif name.endswith("output.mapping.weight"):
            weights[name] = value[:, : value.shape[1] // 4]
        elif name.endswith(("output.mapping.bias", "output.projection.weight")) and "vit" not in name:
            weights[name] = value[: len(value) // 4]
    message = refused(models, tmp_path, weights)
    assert "slices, 1/4" in message and "model-parallel" in message


def test_nan_and_whole_number_weights_are_refused(models, tmp_path):
    weights = published_weights()
    broken = weights["text_proj.weight"].copy()
    broken[3, 5] = np.nan
    message = refused(models, tmp_path, weights | {"text_proj.weight": broken})
    assert "text_proj.weight has numbers that are not finite" in message
    quantised = weights | {"text_proj.weight": np.ones((32, 128), np.int32)}
    assert "not floating-point: text_proj.weight (Int32)" in refused(models, tmp_path, quantised)


def test_a_vocabulary_is_needed_and_must_fit(models, tmp_path):
    file = write_published(tmp_path / "files")
    (file.parent / "vocab.txt").unlink()
    with pytest.raises(BadCheckpoint, match="--vocab"):
        import_model(file, models)
    for text, expected in (
        ("\n".join([*PIECES, "one", "more"]), "pieces"),
        ("dog\ncat", r"\[PAD\]"),
        ("\n".join(["x", *PIECES[:9]]), "not in its first"),
    ):
        (file.parent / "other").write_text(text, encoding="utf-8")
        with pytest.raises(BadCheckpoint, match=expected):
            import_model(file, models, vocabulary=file.parent / "other")
    with pytest.raises(BadCheckpoint, match="cannot be read"):
        import_model(file, models, vocabulary=file.parent / "nowhere.txt")
    assert not models.folder.exists()
    (file.parent / "other").write_text("\n".join(PIECES) + "\n", encoding="utf-8")
    assert import_model(file, models, vocabulary=file.parent / "other").name == "opt_v2_small"


def test_the_base_needs_the_vocabulary_it_was_trained_with(tmp_path):
    config = published.v2_config(published.v2_shapes(SMALL_PUBLISHED) | {published.WORDS: (21128, 128)})
    vocabulary = tmp_path / "vocab.txt"
    pieces = ["[PAD]", *(f"[unused{i}]" for i in range(99)), "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary.write_text("\n".join([*pieces, *map(str, range(21128 - len(pieces)))]))
    assert importer._vocabulary(vocabulary, tmp_path / "a.ckpt", config) == vocabulary
    vocabulary.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *map(str, range(21124))]))
    with pytest.raises(BadCheckpoint, match="not bert-base-chinese's"):
        importer._vocabulary(vocabulary, tmp_path / "a.ckpt", config)


def test_a_model_is_replaced_only_on_request(models, tmp_path):
    first = imported(models, tmp_path, published_weights())
    with pytest.raises(BadModelName, match="--replace"):
        imported(models, tmp_path, published_weights(seed=1))
    assert models.fingerprint("small") == first.fingerprint
    second = imported(models, tmp_path, published_weights(seed=1), replace=True)
    assert models.fingerprint("small") == second.fingerprint != first.fingerprint
    assert sorted(path.name for path in models.folder.iterdir()) == [".lock", "small"]


@pytest.mark.parametrize("name", ["opt-mini", "shipped", "../up", ".hidden", "a b", "a/b", "x" * 65, "模型"])
def test_impossible_names_are_refused(models, tmp_path, name):
    with pytest.raises(BadModelName, match="--as"):
        imported(models, tmp_path, published_weights(), name)


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_an_interrupted_import_leaves_the_old_model_as_it_was(models, tmp_path, monkeypatch, error):
    before = imported(models, tmp_path, published_weights())

    def stop(*_):
        raise error

    monkeypatch.setattr(importer.Plan, "read", stop)
    with pytest.raises(KeyboardInterrupt if error is KeyboardInterrupt else UnusableModels):
        imported(models, tmp_path, published_weights(seed=1), replace=True)
    assert models.fingerprint("small") == before.fingerprint
    assert sorted(path.name for path in models.folder.iterdir()) == [".lock", "small"]


def test_the_next_import_removes_what_a_killed_one_left(models, tmp_path):
    (models.folder / ".tmp-killed").mkdir(parents=True)
    (models.folder / ".tmp-killed" / "config.json").write_text("{}")
    assert models.names() == []
    imported(models, tmp_path, published_weights())
    assert models.names() == ["small"] and not list(models.folder.glob(".tmp-*"))


def test_a_missing_file_and_another_network_are_refused(models, tmp_path):
    with pytest.raises(NotACheckpoint, match="cannot be read"):
        import_model(tmp_path / "nowhere.ckpt", models, "x")
    other = write_checkpoint(tmp_path / "resnet.ckpt", {"conv1.weight": np.ones((3, 3), np.float32)})
    with pytest.raises(UnusableForm, match="no OPT that is known"):
        import_model(other, models, "x")


def test_a_damaged_model_is_listed_as_damaged_beside_the_others(models, tmp_path):
    imported(models, tmp_path, published_weights(), "whole")
    imported(models, tmp_path, published_weights(), "damaged")
    (models.path("damaged") / model_folder.CONFIG).write_text("{")
    lines = list(list_lines({"models": models.list()}))
    assert [line.split()[0] for line in lines] == ["opt-mini", "damaged", "whole"] and "damaged: " in lines[1]
    with pytest.raises(UnknownModel, match="there are opt-mini, damaged, whole"):
        models.path("nobody")


def test_a_model_records_where_it_came_from(models, tmp_path):
    report = imported(models, tmp_path, published_weights())
    record = json.loads((models.path("small") / "import.json").read_text())
    assert record["file"] == "opt_v2_small.ckpt" and record["loaded"] == report.loaded and record["form"] == "V2"
    assert "/" not in record["file"]
