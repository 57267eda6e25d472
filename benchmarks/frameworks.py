"""Times one framework on one model: `python -m benchmarks.frameworks NAME MODEL INPUTS OUTPUTS`.

`benchmarks.encoder` starts one process for each. NAME is "panoptes" (the encoder as it is served), "mindspore" (the same with
PANOPTES_RUNTIME=mindspore), "torch" or "onnxruntime"; "export" writes the graphs for "onnxruntime", "graphs" those for
"panoptes". INPUTS is the file that `benchmarks.material` wrote. Text vectors, image vectors and match logits are written to
OUTPUTS, and the milliseconds are printed as one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

SIDE = 2048
PARTS = ("texts", "images", "match")


class Panoptes:
    """The encoder of Panoptes, as the rest of Panoptes calls it."""

    def __init__(self, model: Path, inputs: dict[str, np.ndarray]):
        from encoder import open_encoder

        self._encoder = open_encoder(model)
        self._sentences, self._pixels = inputs["sentences"].tolist(), inputs["pixels"]
        self._texts = self._encoder.encode_texts(self._sentences)
        self._tokens = repeated(self._encoder.encode_images(self._pixels).tokens, len(self._sentences))

    def sentences(self) -> np.ndarray:
        """Vectors [32, D] of the sentences."""
        return self._encoder.encode_texts(self._sentences).vectors

    def images(self) -> np.ndarray:
        """Vectors [8, D] of the pictures."""
        return self._encoder.encode_images(self._pixels).vectors

    def pairs(self) -> np.ndarray:
        """Match logits [32] of each sentence with a picture."""
        return self._encoder.match(self._texts, self._tokens)


class Arrays:
    """The same three calls for a framework that takes arrays."""

    def __init__(self, inputs: dict[str, np.ndarray]):
        self._ids, self._pixels = inputs["ids"], inputs["pixels"]
        self._states = self.call("texts", self._ids)[1]
        self._tokens = repeated(self.call("images", self._pixels)[1].astype(np.float16), len(self._ids))

    def call(self, part: str, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        """Run one of PARTS on arrays, and return its outputs."""
        raise NotImplementedError

    def sentences(self) -> np.ndarray:
        """Vectors [32, D] of the sentences."""
        return self.call("texts", self._ids)[0]

    def images(self) -> np.ndarray:
        """Vectors [8, D] of the pictures."""
        return self.call("images", self._pixels)[0]

    def pairs(self) -> np.ndarray:
        """Match logits [32] of each sentence with a picture."""
        return self.call("match", self._states, self._ids, self._tokens.astype(np.float32))[0]


class Torch(Arrays):
    """PyTorch, eager, in inference mode."""

    def __init__(self, model: Path, inputs: dict[str, np.ndarray]):
        from benchmarks.torch_opt import TorchOpt

        self._opt = TorchOpt.from_folder(model)
        super().__init__(inputs)

    def call(self, part: str, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        """Run one of PARTS."""
        import torch

        with torch.inference_mode():
            out = getattr(self._opt, part)(*map(torch.from_numpy, arrays))
        return tuple(value.numpy() for value in (out if isinstance(out, tuple) else (out,)))


class OnnxRuntime(Arrays):
    """ONNX Runtime on the graphs that `export` wrote, with all graph optimisations (the default)."""

    def __init__(self, model: Path, inputs: dict[str, np.ndarray]):
        import onnxruntime

        self._sessions = {
            part: onnxruntime.InferenceSession(onnx_file(model, part), providers=["CPUExecutionProvider"]) for part in PARTS
        }
        super().__init__(inputs)

    def call(self, part: str, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        """Run one of PARTS."""
        session = self._sessions[part]
        names = (given.name for given in session.get_inputs())
        return tuple(session.run(None, dict(zip(names, arrays, strict=True))))


class MindSpore(Panoptes):
    """The encoder of Panoptes with MindSpore as its runtime: the reference."""

    def __init__(self, model: Path, inputs: dict[str, np.ndarray]):
        os.environ["PANOPTES_RUNTIME"] = "mindspore"
        super().__init__(model, inputs)


FRAMEWORKS = {"panoptes": Panoptes, "mindspore": MindSpore, "torch": Torch, "onnxruntime": OnnxRuntime}


def repeated(tokens: np.ndarray, count: int) -> np.ndarray:
    """The tokens of a few pictures, repeated in turn for `count` pairs."""
    return np.resize(tokens, (count, *tokens.shape[1:]))


def onnx_file(model: Path, part: str) -> Path:
    """The path of a part's graph."""
    return model / f"{part}.onnx"


def export(model: Path, inputs: dict[str, np.ndarray]) -> None:
    """Export the three parts of the PyTorch network to ONNX, with the shapes of the inputs."""
    import torch

    from benchmarks.torch_opt import Part, TorchOpt

    opt = TorchOpt.from_folder(model)
    ids, pixels = torch.from_numpy(inputs["ids"]), torch.from_numpy(inputs["pixels"])
    length, width = opt.config.token_shape
    states, tokens = torch.zeros(*ids.shape, width), torch.zeros(len(ids), length, width)
    for part, given in zip(PARTS, ((ids,), (pixels,), (states, ids, tokens)), strict=True):
        torch.onnx.export(Part(opt, part).eval(), given, onnx_file(model, part), dynamo=True, external_data=True, verbose=False)


def make_graphs(model: Path) -> None:
    """Give a model folder the graphs of its config."""
    from encoder.model_folder import read_config
    from encoder.runtime.graph_files import copy_kept_graphs

    if not copy_kept_graphs(model, read_config(model)):
        from encoder.exporting.onnx_export import export_graphs

        export_graphs(model)


def median_ms(call: Callable[[], object], seconds: float, least: int = 3) -> float:
    """Median milliseconds of `call`, repeated for so many seconds and at least `least` times, after two uncounted calls."""
    call(), call()
    taken, end = [], time.perf_counter() + seconds
    while len(taken) < least or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        taken.append(1000 * (time.perf_counter() - start))
    return statistics.median(taken)


def peak(name: str, seconds: float) -> float:
    """The best GFLOP/s of a float32 product of two square matrices: by PyTorch for "torch", by numpy for the others."""
    if name == "torch":
        import torch

        left = right = torch.ones(SIDE, SIDE)
    else:
        left = right = np.ones((SIDE, SIDE), np.float32)
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        left @ right
        best = min(best, time.perf_counter() - start)
    return 2 * SIDE**3 / best / 1e9


def main() -> None:
    """Run the framework and print its times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=[*FRAMEWORKS, "export", "graphs"])
    parser.add_argument("model", type=Path)
    parser.add_argument("inputs", type=Path)
    parser.add_argument("outputs", type=Path, nargs="?")
    parser.add_argument("--seconds", type=float, default=3.0, help="how long each kind of work is repeated")
    options = parser.parse_args()
    inputs = dict(np.load(options.inputs))
    if options.name in ("export", "graphs"):
        export(options.model, inputs) if options.name == "export" else make_graphs(options.model)
        return
    framework = FRAMEWORKS[options.name](options.model, inputs)
    rows = {"sentences": framework.sentences, "images": framework.images, "pairs": framework.pairs}
    np.savez(options.outputs, **{row: call() for row, call in rows.items()})
    times = {row: median_ms(call, options.seconds) for row, call in rows.items()}
    print(json.dumps({"ms": times, "peak": peak(options.name, options.seconds)}))


if __name__ == "__main__":
    main()
