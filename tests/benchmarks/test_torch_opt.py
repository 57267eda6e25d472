"""Tests that the network in PyTorch, and in ONNX Runtime, gives the numbers of an independent forward pass.

They need the environment of `make bench`, and skip without it.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from encoder.model_folder import read_weights
from tests.support.numpy_opt import NumpyOpt
from tests.support.small_models import SMALL_MINI, SMALL_V2, write_small_model

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-bench" / "bin" / "python"
SENTENCES = [[2, 5, 7, 9, 3], [2, 6, 3], [2, 4, 12, 13, 14, 15, 5, 3]]

pytestmark = pytest.mark.skipif(
    not (PYTHON.parent.parent / "ready").exists(), reason="there is no PyTorch: `make bench` makes its environment, .venv-bench"
)


def framework(*arguments) -> None:
    done = subprocess.run(
        [PYTHON, "-m", "benchmarks.frameworks", *map(str, arguments), "--seconds", "0"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("config", [SMALL_V2, SMALL_MINI], ids=lambda c: c.name)
def test_both_give_the_numbers_of_plain_numpy(config, tmp_path):
    model, inputs = write_small_model(tmp_path / "model", config), tmp_path / "inputs.npz"
    ids = np.zeros((len(SENTENCES), 8), np.int32)
    for row, sentence in zip(ids, SENTENCES, strict=True):
        row[: len(sentence)] = sentence
    pixels = np.random.default_rng(1).integers(0, 256, (2, config.image_size, config.image_size, 3)).astype(np.uint8)
    np.savez(inputs, ids=ids, pixels=pixels)

    reference = NumpyOpt(config, read_weights(model))
    states = [reference.text_states(sentence) for sentence in SENTENCES]
    tokens = [reference.image_tokens(one) for one in pixels]
    kept = [one.astype(np.float16).astype(np.float64) for one in tokens]
    logits = [reference.match_logit(states[i], kept[i % 2]) for i in range(3)]

    framework("export", model, inputs)
    for name in ("torch", "onnxruntime"):
        framework(name, model, inputs, tmp_path / f"{name}.npz")
        with np.load(tmp_path / f"{name}.npz") as found:
            np.testing.assert_allclose(found["sentences"], [reference.text_vector(one) for one in states], atol=1e-4)
            np.testing.assert_allclose(found["images"], [reference.image_vector(one) for one in tokens], atol=1e-4)
            np.testing.assert_allclose(found["pairs"], logits, atol=1e-3)
