"""Exported graphs are checked against the model, the code and ONNX Runtime; a misfit is one line."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys

import numpy as np
import pytest

from encoder import model_folder, open_encoder
from encoder.errors import BadCheckpoint, BadGraphs, BadThreads, NoOnnxRuntime
from encoder.runtime import graph_files
from manage import error_line
from tests.support.small_models import SMALL_MINI, add_graphs, random_weights, vocabulary, write_small_model

ENTRIES = ["attention", "images", "match", "texts"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return write_small_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def model(whole, tmp_path):
    """A model folder that a test may damage."""
    return shutil.copytree(whole, tmp_path / "model")


def refused(model) -> str:
    """The error about the graphs of a model."""
    with pytest.raises(BadGraphs) as error:
        open_encoder(model)
    message = error_line(error.value)
    assert "\n" not in message and f"manage.py model export {model}" in message
    return message


def change(model, **values) -> None:
    path = model / "graphs" / "graphs.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_whole_graphs_are_read(whole):
    files = graph_files.read_graphs(whole, SMALL_MINI)
    assert sorted(files.paths) == ENTRIES
    read = {name for names in files.weights.values() for name in names}
    assert model_folder.weight_shapes(whole).keys() - read == {"clip_loss.clip_temp"}  # which training alone needs
    assert read <= model_folder.weight_shapes(whole).keys()


def test_a_model_without_graphs_says_how_they_are_made(model):
    shutil.rmtree(model / "graphs")
    assert "there are none" in refused(model)


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_truncated_graph_is_named(model, entry):
    path = model / "graphs" / f"{entry}.onnx"
    path.write_bytes(path.read_bytes()[:-100])
    assert f"{entry}.onnx is damaged" in refused(model)


def test_a_graph_that_is_gone_is_named(model):
    (model / "graphs" / "texts.onnx").unlink()
    assert "texts.onnx can't be read" in refused(model)


def test_graphs_of_another_config_are_refused(model):
    other = dataclasses.replace(SMALL_MINI, text_length=24)
    (model / model_folder.CONFIG).write_text(other.to_json())
    assert "another config.json" in refused(model)


def test_another_ranking_needs_no_other_graphs(model):
    model_folder.write_ranking(model, match_calibration=(0.1, 0.0, -3.0))
    assert open_encoder(model).config.match_calibration == (0.1, 0.0, -3.0)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda w: w.pop("text_proj.bias"), "missing: text_proj.bias"),
        (lambda w: w.update(more=np.ones(3, np.float32)), "left over: more"),
        (lambda w: w.update({"text_proj.bias": w["text_proj.bias"][:3]}), "misshaped: text_proj.bias"),
    ],
)
def test_graphs_of_other_weights_are_refused(model, spoil, message):
    weights = random_weights(SMALL_MINI)
    spoil(weights)
    model_folder.write_model(model, SMALL_MINI, weights, vocabulary())
    assert f"of other weights than weights.safetensors holds ({message})" in refused(model)


def test_graphs_of_older_code_are_refused(model):
    change(model, source="0" * 64)
    assert "the network's code has changed since" in refused(model)


def test_a_change_of_the_network_s_code_is_noticed(whole, monkeypatch, tmp_path):
    for name in graph_files.NETWORK:
        copy = tmp_path / f"{name}.py"
        copy.parent.mkdir(exist_ok=True)
        shutil.copy(graph_files.ENCODER / f"{name}.py", copy)
    monkeypatch.setattr(graph_files, "ENCODER", tmp_path)
    graph_files.read_graphs(whole, SMALL_MINI)
    with (tmp_path / "network" / "blocks.py").open("a") as module:
        module.write("# only a comment\n")
    graph_files.read_graphs(whole, SMALL_MINI)
    with (tmp_path / "network" / "blocks.py").open("a") as module:
        module.write("MASKED = -1\n")
    refused(whole)


@pytest.mark.parametrize("values", [{"format": 99}, {"opset": 11}])
def test_another_format_is_refused(model, values):
    change(model, **values)
    assert "this version reads" in refused(model)


@pytest.mark.parametrize("text", ["", "{", "[]", "7", "{}", '{"format": 1}', '"graphs"', "\udcff"])
def test_a_record_that_is_not_json_is_refused(model, text):
    (model / "graphs" / "graphs.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert "graphs.json can't be read" in refused(model)


@pytest.mark.parametrize(
    "values",
    [
        {"graphs": []},
        {"graphs": {"images": 3}},
        {"graphs": {"images": {}}},
        {"parameters": 3},
        {"parameters": {"a": 3}},
    ],
)
def test_a_record_of_another_shape_is_refused(model, values):
    change(model, **values)
    refused(model)


def test_a_graph_that_onnx_runtime_can_t_open_is_reported_when_it_is_first_run(model, monkeypatch):
    path = model / "graphs" / "texts.onnx"
    path.write_bytes(b"no graph")
    monkeypatch.setattr(graph_files, "_check_file", lambda *_: None)
    encoder = open_encoder(model)
    with pytest.raises(BadGraphs, match="ONNX Runtime can't open texts.onnx") as error:
        encoder.encode_texts(["a dog"])
    assert "\n" not in str(error.value) and f"manage.py model export {model}" in error_line(error.value)


def test_unreadable_weights_are_not_blamed_on_the_graphs(model):
    (model / model_folder.WEIGHTS).write_bytes(b"none")
    with pytest.raises(BadCheckpoint, match="fetch the file again") as error:
        open_encoder(model)
    assert not isinstance(error.value, BadGraphs)


def test_without_onnx_runtime_one_line_says_the_remedy(whole, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(NoOnnxRuntime, match="ONNX Runtime is not installed.*pip install.*PANOPTES_RUNTIME=mindspore") as error:
        open_encoder(whole)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("version", "fits"), [("1.20.1", False), ("0.9", False), ("1.21.0", True), ("2.0.0", True)])
def test_an_onnx_runtime_that_is_too_old_is_refused(whole, monkeypatch, version, fits):
    monkeypatch.setattr("onnxruntime.__version__", version)
    if fits:
        open_encoder(whole)
        return
    with pytest.raises(NoOnnxRuntime, match=f"ONNX Runtime {version} is too old: 1.21 or later"):
        open_encoder(whole)


def test_the_shipped_graphs_fit_the_shipped_weights_and_the_code():
    files = graph_files.read_graphs(model_folder.SHIPPED, model_folder.read_config(model_folder.SHIPPED))
    assert sorted(files.paths) == ENTRIES
    assert graph_files.is_whole(model_folder.SHIPPED / "graphs")


@pytest.mark.parametrize("named", ["none", "0", "-1", "two"])
def test_a_wrong_number_of_threads_is_refused(whole, monkeypatch, named):
    monkeypatch.setenv("PANOPTES_THREADS", named)
    with pytest.raises(BadThreads, match="set it to a number of processors"):
        open_encoder(whole)


def test_the_same_graphs_serve_other_weights_of_the_same_config(whole, tmp_path):
    other = write_small_model(tmp_path / "other", seed=5)
    for entry in ENTRIES:
        name = f"graphs/{entry}.onnx"
        assert (whole / name).read_bytes() == (other / name).read_bytes()
    ids = np.array([[2, 5, 7, 3]], np.int32)
    first, second = (open_encoder(model).graphs.run("texts", ids)[0] for model in (whole, other))
    assert np.abs(first - second).max() > 1e-2


def test_kept_graphs_are_copied_only_if_they_are_whole(tmp_path, monkeypatch):
    kept = graph_files.kept_graphs(SMALL_MINI)
    monkeypatch.setenv("PANOPTES_CACHE", str(tmp_path / "cache"))
    model = tmp_path / "model"
    model.mkdir()
    assert not graph_files.copy_kept_graphs(model, SMALL_MINI)
    own = graph_files.kept_graphs(SMALL_MINI)
    shutil.copytree(kept, own)
    assert graph_files.copy_kept_graphs(model, SMALL_MINI) and graph_files.is_whole(model / "graphs")
    (own / "match.onnx").write_bytes(b"half")
    assert not graph_files.copy_kept_graphs(model, SMALL_MINI) and graph_files.is_whole(model / "graphs")


def test_a_folder_is_replaced_only_by_a_whole_one(tmp_path):
    folder = tmp_path / "graphs"
    folder.mkdir()
    (folder / "old").touch()

    def fails(made):
        (made / "new").touch()
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        graph_files.replace_folder(folder, fails)
    assert [path.name for path in tmp_path.rglob("*")] == ["graphs", "old"]
    graph_files.replace_folder(folder, lambda made: (made / "new").touch())
    assert [path.name for path in tmp_path.rglob("*")] == ["graphs", "new"]


def test_graphs_that_do_not_fit_are_replaced(model):
    change(model, source="0" * 64)
    refused(model)
    open_encoder(add_graphs(model))
