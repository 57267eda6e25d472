"""Tests of the benchmark's table, and of the inputs that it makes for the frameworks."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from benchmarks.comparison import Measured, disagreements, operations, table
from benchmarks.encoder import versions
from benchmarks.material import IMAGES, SENTENCES, TOKENS, write_inputs, write_opt_v2_base
from encoder import model_folder
from encoder.config import PRESETS
from encoder.importing.published import v2_shapes
from encoder.model_folder import SHIPPED

MINI = PRESETS["opt-mini"]


def outputs(**changed) -> dict[str, np.ndarray]:
    same = {"sentences": np.zeros((SENTENCES, 4)), "images": np.zeros((IMAGES, 4)), "pairs": np.zeros(SENTENCES)}
    return same | changed


def measured(*frameworks: str) -> Measured:
    """Figures of two rounds: all take twice as long in the second; PyTorch takes half of our time in both."""
    found = Measured({"opt-mini": MINI}, differences={"opt-mini": dict.fromkeys(("sentences", "images", "pairs"), 2e-6)})
    for slow in (1, 2):
        for framework in frameworks:
            ms = 100 * slow / (2 if framework == "torch" else 1)
            found.add("opt-mini", framework, {"ms": {"sentences": ms, "images": ms, "pairs": ms}, "peak": 150 / slow})
    return found


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_table_has_medians_ratios_and_shares_of_the_best_product():
    lines = [cells(line) for line in table(measured("panoptes", "torch")).splitlines()]
    row = dict(zip(lines[0], next(line for line in lines if line[1] == "images"), strict=True))
    assert row["Panoptes"] == "60.0"  # 8 images in 100 ms and in 200 ms: 80 and 40 a second
    assert row["PyTorch"] == "120"
    assert row["ours to PyTorch's"] == "0.50 (0.50 to 0.50)"
    share = 100 * 60 * operations(MINI, "images") / 150e9
    assert row["share of 150 GFLOP/s"] == f"{share:.0f} / {2 * share:.0f} %"
    assert row["largest difference"] == "2e-06"


def test_a_ratio_is_free_of_drift_and_shows_its_range():
    found = measured("panoptes", "torch")
    found.add("opt-mini", "panoptes", {"ms": dict.fromkeys(("sentences", "images", "pairs"), 100.0), "peak": 1})
    found.add("opt-mini", "torch", {"ms": dict.fromkeys(("sentences", "images", "pairs"), 100.0), "peak": 1})
    assert "| 0.50 (0.50 to 1.00) |" in table(found)


def test_without_other_frameworks_the_table_has_only_our_columns():
    head = cells(table(measured("panoptes")).splitlines()[0])
    assert head == ["model", "a second", "Panoptes", "GFLOP each", "share of 150 GFLOP/s"]


def test_differences_beyond_the_tolerance_are_named():
    differences, sentences = disagreements(
        {
            "panoptes": outputs(),
            "torch": outputs(pairs=np.full(SENTENCES, 9e-3)),
            "onnxruntime": outputs(images=np.full((IMAGES, 4), 2e-3)),
        }
    )
    assert differences == pytest.approx({"sentences": 0, "images": 2e-3, "pairs": 9e-3})
    assert len(sentences) == 1
    assert sentences[0].startswith("PyTorch's export differs by 0.002 in images")


def test_nan_agrees_with_nothing():
    _, sentences = disagreements({"panoptes": outputs(), "torch": outputs(pairs=np.full(SENTENCES, np.nan))})
    assert len(sentences) == 1
    assert sentences[0].startswith("PyTorch differs by nan in pairs")


def test_every_sentence_fills_its_bucket_with_the_shipped_vocabulary(tmp_path):
    with np.load(write_inputs(SHIPPED, tmp_path / "inputs.npz")) as inputs:
        assert inputs["ids"].shape == (SENTENCES, TOKENS)
        assert inputs["ids"].all()  # nothing is padded
        assert len(set(inputs["sentences"].tolist())) == SENTENCES
        assert inputs["pixels"].shape == (IMAGES, MINI.image_size, MINI.image_size, 3)
        assert inputs["pixels"].dtype == np.uint8


def test_the_random_model_has_the_published_shapes_and_is_reproducible(tmp_path):
    config = dataclasses.replace(
        PRESETS["opt-v2-base"], hidden_size=64, vocab_size=200, image_size=32, text_layers=1, image_layers=1, fusion_layers=1
    )
    first, second = (write_opt_v2_base(tmp_path / name, config) for name in ("first", "second"))
    model_folder.check(v2_shapes(config), model_folder.read_weights(first), first)
    assert model_folder.fingerprint(first) == model_folder.fingerprint(second)
    write_inputs(first, tmp_path / "inputs.npz")  # its vocabulary reads the sentences


def test_an_environment_without_pytorch_has_no_versions(tmp_path):
    assert versions(str(tmp_path / "python")) is None
    assert versions("false") is None
