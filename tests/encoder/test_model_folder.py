"""A model folder is read back as it was written; files that don't fit are named."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import click
import numpy as np
import pytest

from encoder import model_folder, open_encoder
from encoder.commands import chosen_models
from encoder.errors import BadCheckpoint, UnknownDevice, UnknownModel
from encoder.registry import ModelRegistry
from storage.console import HOME
from tests.support.runtimes import RUNTIMES, open_with
from tests.support.small_models import SMALL_MINI, add_graphs, random_weights, write_small_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_small_model(tmp_path_factory.mktemp("model"))


def test_written_weights_are_read_back(folder):
    written, read = random_weights(SMALL_MINI), model_folder.read_weights(folder)
    assert read.keys() == written.keys()
    for name, value in written.items():
        np.testing.assert_allclose(read[name], value, rtol=1e-3, atol=1e-6)
    assert model_folder.read_config(folder) == SMALL_MINI


def test_the_fingerprint_follows_weights_config_and_vocabulary(folder, tmp_path):
    first = model_folder.fingerprint(folder)
    assert len(first) == 16 and first == model_folder.fingerprint(folder)
    for name in (model_folder.WEIGHTS, model_folder.CONFIG, "tokenizer.json"):
        other = tmp_path / name
        shutil.copytree(folder, other)
        with (other / name).open("ab") as stream:
            stream.write(b" ")
        assert model_folder.fingerprint(other) != first


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_weights_that_do_not_fit_are_named(folder, tmp_path, runtime):
    weights = model_folder.read_weights(folder)
    weights["text_proj.weights"] = weights.pop("text_proj.weight")
    weights["vision_proj.bias"] = weights["vision_proj.bias"][:3]
    model_folder.write_model(tmp_path, SMALL_MINI, weights, (folder / "tokenizer.json").read_bytes())
    add_graphs(tmp_path)
    with pytest.raises(BadCheckpoint) as error:
        open_with(runtime, tmp_path)
    assert "missing: text_proj.weight;" in str(error.value)
    assert "misshaped: vision_proj.bias" in str(error.value)
    assert "left over: text_proj.weights" in str(error.value)


@pytest.mark.parametrize("name", [model_folder.WEIGHTS, model_folder.CONFIG, "tokenizer.json"])
def test_a_missing_or_damaged_file_is_one_line(folder, tmp_path, name):
    broken = tmp_path / "model"
    shutil.copytree(folder, broken)
    (broken / name).unlink()
    with pytest.raises(BadCheckpoint) as error:
        open_encoder(broken)
    assert "\n" not in str(error.value)
    (broken / name).write_bytes(b"{damaged")
    with pytest.raises(BadCheckpoint):
        open_encoder(broken)


@pytest.mark.parametrize("at", ["given", "default"])
@pytest.mark.parametrize("model", ["mine", "path/model", "opt-mini", None])
def test_panoptes_model_means_the_same_to_open_encoder_and_to_commands(tmp_path, monkeypatch, model, at):
    monkeypatch.chdir(tmp_path)
    for name, value in (("PANOPTES_MODEL", model), ("PANOPTES_HOME", "home" if at == "given" else None)):
        monkeypatch.delenv(name, raising=False) if value is None else monkeypatch.setenv(name, value)
    home = Path("home" if at == "given" else "var")
    write_small_model(home / "models" / "mine", seed=1)
    write_small_model(Path("path/model"), seed=2)

    assert open_encoder().fingerprint == chosen_models(home, None, None).fingerprint


def test_the_default_home_is_that_of_the_commands(monkeypatch):
    monkeypatch.delenv("PANOPTES_HOME", raising=False)
    command = HOME(click.Command("any", callback=lambda home: home))
    assert ModelRegistry.of_home().folder == command.main([], standalone_mode=False) / "models"


def test_an_unknown_panoptes_model_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("PANOPTES_MODEL", "mine")
    monkeypatch.setenv("PANOPTES_HOME", str(tmp_path))
    with pytest.raises(UnknownModel, match="There is no model 'mine': there are opt-mini;"):
        open_encoder()


def test_a_calibration_is_optional_and_is_read_back(folder, tmp_path):
    calibrated = dataclasses.replace(SMALL_MINI, match_calibration=(0.7, -0.4, -2.5))
    (tmp_path / model_folder.CONFIG).write_text(calibrated.to_json())
    assert model_folder.read_config(tmp_path) == calibrated
    assert model_folder.read_config(model_folder.SHIPPED).name == "opt-mini"  # whose config may be older than the field


@pytest.mark.parametrize("calibration", ["[1, 2]", "[1, 2, NaN]", '["a", 2, 3]', "7"])
def test_a_malformed_calibration_is_refused_in_one_line(tmp_path, calibration):
    written = dataclasses.replace(SMALL_MINI, match_calibration=(1, 2, 3)).to_json()
    (tmp_path / model_folder.CONFIG).write_text(written.replace("[1, 2, 3]", calibration))
    with pytest.raises(BadCheckpoint, match="is not a config of this version"):
        model_folder.read_config(tmp_path)


def test_an_unknown_device_lists_the_devices(folder):
    with pytest.raises(UnknownDevice, match="CPU or Ascend"):
        open_encoder(folder, device="GPU")


def test_an_unknown_preprocessing_is_refused_in_one_line(tmp_path):
    (tmp_path / model_folder.CONFIG).write_text(SMALL_MINI.to_json().replace('"squash"', '"stretch"'))
    with pytest.raises(BadCheckpoint, match="preprocessing is 'stretch', not one of squash, center_crop"):
        model_folder.read_config(tmp_path)


def test_ranking_json_changes_the_ranking_and_not_the_fingerprint(folder, tmp_path):
    model = tmp_path / "model"
    shutil.copytree(folder, model)
    before = model_folder.fingerprint(model)

    model_folder.write_ranking(model, hub_weights=(0.5, 1.0))
    model_folder.write_ranking(model, match_calibration=(0.1, 0.0, -3.0))

    config = model_folder.read_config(model)
    assert (config.hub_weights, config.match_calibration) == ((0.5, 1.0), (0.1, 0.0, -3.0))
    assert config.dim == SMALL_MINI.dim
    assert model_folder.fingerprint(model) == before


@pytest.mark.parametrize("text", ["{damaged", '{"dim": 3}', '{"hub_weights": [1]}', '{"hub_sharpness": 0}', "[1]", "\udcff"])
def test_a_malformed_ranking_json_is_one_line(folder, tmp_path, text):
    model = tmp_path / "model"
    shutil.copytree(folder, model)
    (model / "ranking.json").write_bytes(text.encode("utf-8", "surrogateescape"))

    with pytest.raises(BadCheckpoint, match="how to rank"):
        model_folder.read_config(model)
