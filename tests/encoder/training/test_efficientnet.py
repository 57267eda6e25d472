"""The converted EfficientNet computes what torchvision's computes with its batch norms."""

from __future__ import annotations

import numpy as np
import pytest
from mindspore import Tensor

from encoder.network.convolutions import EfficientNet, Stage
from encoder.runtime.device import use_device
from encoder.training.efficientnet import NORM_EPS, PREFIX, convert_efficientnet
from tests.support.torch_files import write_torch_file

STAGES = ((1, 3, 2, 8, 8, 2), (4, 5, 2, 8, 12, 2))
FEATURES = 20


@pytest.fixture(autouse=True, scope="module")
def graph_mode():
    use_device()


def published_state(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """A state dict in torchvision's layout: convolutions without bias, each with its batch norm."""
    state = {}

    def layer(name: str, *shape: int) -> None:
        state[f"{name}.0.weight"] = rng.normal(0, 0.4, shape)
        limits = {"weight": (0.5, 1.5), "bias": (-0.3, 0.3), "running_mean": (-0.3, 0.3), "running_var": (0.5, 2)}
        for part, (low, high) in limits.items():
            state[f"{name}.1.{part}"] = rng.uniform(low, high, shape[0])

    layer("features.0", STAGES[0][3], 3, 3, 3)
    for s, (expand, kernel, _, inputs, outputs, repeats) in enumerate(STAGES, 1):
        for i in range(repeats):
            wide = inputs * expand
            at, block = 0, f"features.{s}.{i}.block."
            if expand > 1:
                layer(f"{block}0", wide, inputs, 1, 1)
                at = 1
            layer(f"{block}{at}", wide, 1, kernel, kernel)
            for fc, shape in (("fc1", (max(1, inputs // 4), wide)), ("fc2", (wide, max(1, inputs // 4)))):
                state[f"{block}{at + 1}.{fc}.weight"] = rng.normal(0, 0.4, (*shape, 1, 1))
                state[f"{block}{at + 1}.{fc}.bias"] = rng.normal(0, 0.4, shape[0])
            layer(f"{block}{at + 2}", outputs, wide, 1, 1)
            inputs = outputs
    layer(f"features.{len(STAGES) + 1}", FEATURES, STAGES[-1][4], 1, 1)
    return {name: value.astype(np.float32) for name, value in state.items()}


def swish(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.exp(-x))


def convolution(state: dict[str, np.ndarray], name: str, x: np.ndarray, stride: int = 1, groups: int = 1) -> np.ndarray:
    """Apply a convolution, padded by half its kernel, and its batch norm to x [C, h, w], as published."""
    weight = state[f"{name}.0.weight"]
    k = weight.shape[2]
    padded = np.pad(x, ((0, 0), (k // 2, k // 2), (k // 2, k // 2)))
    rows, columns = range(0, x.shape[1], stride), range(0, x.shape[2], stride)
    out = np.empty((len(weight), len(rows), len(columns)))
    for r, row in enumerate(rows):
        for c, column in enumerate(columns):
            patch = padded[:, row : row + k, column : column + k]
            out[:, r, c] = (weight[:, 0] * patch).sum((1, 2)) if groups > 1 else (weight * patch).sum((1, 2, 3))
    norm = {part: state[f"{name}.1.{part}"][:, None, None] for part in ("weight", "bias", "running_mean", "running_var")}
    return (out - norm["running_mean"]) / np.sqrt(norm["running_var"] + NORM_EPS) * norm["weight"] + norm["bias"]


def published_forward(state: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    """Run the network as published: [3, S, S] -> [F, g, g]."""
    x = swish(convolution(state, "features.0", x, 2))
    for s, (expand, _, stride, _, _, repeats) in enumerate(STAGES, 1):
        for i in range(repeats):
            block, at, y = f"features.{s}.{i}.block.", int(expand > 1), x
            if expand > 1:
                y = swish(convolution(state, f"{block}0", y))
            y = swish(convolution(state, f"{block}{at}", y, stride if i == 0 else 1, groups=len(y)))
            weighed = y.mean((1, 2))
            for fc, act in (("fc1", swish), ("fc2", lambda v: 1 / (1 + np.exp(-v)))):
                name = f"{block}{at + 1}.{fc}."
                weighed = act(state[f"{name}weight"][:, :, 0, 0] @ weighed + state[f"{name}bias"])
            y = convolution(state, f"{block}{at + 2}", y * weighed[:, None, None])
            x = x + y if i > 0 else y
    return swish(convolution(state, f"features.{len(STAGES) + 1}", x))


@pytest.mark.parametrize("size", [32, 33, 36])
def test_the_converted_network_computes_what_torchvisions_computes(tmp_path, size):
    rng = np.random.default_rng(0)
    state = published_state(rng)
    converted = convert_efficientnet(write_torch_file(tmp_path / "b.pth", state), STAGES)
    network = EfficientNet(size, tuple(Stage(*stage) for stage in STAGES), FEATURES).set_train(False)
    parameters = dict(network.parameters_and_names())
    assert {name.removeprefix(PREFIX) for name in converted} == parameters.keys()
    for name, parameter in parameters.items():
        parameter.set_data(Tensor(converted[PREFIX + name]))
    pixels = rng.normal(0, 1, (2, 3, size, size)).astype(np.float32)
    ours = network(Tensor(pixels)).asnumpy()
    for photo, cells in zip(pixels, ours, strict=True):
        np.testing.assert_allclose(cells.T, published_forward(state, photo).reshape(FEATURES, -1), atol=2e-4)
