"""Times single kernels in MindSpore and in PyTorch: `python -m benchmarks.kernels --torch-python .venv-bench/bin/python`.

The kernels are those of a block of opt-mini's ViT for 8 photos: 8 x 201 tokens of width 384, 1,536 in the feed-forward layer,
6 heads. Each framework runs in a process of its own, one after the other, with its default number of threads. Prints a Markdown
table of median milliseconds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent
PHOTOS, TOKENS, WIDTH, INNER, HEADS = 8, 201, 384, 1536, 6
ROWS = PHOTOS * TOKENS
SHAPES = {
    "product 384 to 1,536": ((ROWS, WIDTH), (INNER, WIDTH)),
    "product 1,536 to 384": ((ROWS, INNER), (WIDTH, INNER)),
    "product 1,536 to 384, weight stored [in, out]": ((ROWS, INNER), (INNER, WIDTH)),
    "scores of the heads": ((PHOTOS, HEADS, TOKENS, WIDTH // HEADS),) * 2,
    "softmax of the scores": ((PHOTOS, HEADS, TOKENS, TOKENS),),
    "GELU": ((ROWS, INNER),),
    "sum of two": ((ROWS, INNER),) * 2,
    "layer norm": ((ROWS, WIDTH),),
}


def median_ms(call: Callable[[], object], rounds: int) -> float:
    """Median milliseconds of a call, after two uncounted calls."""
    took = []
    for _ in range(rounds + 2):
        start = time.perf_counter()
        call()
        took.append(1000 * (time.perf_counter() - start))
    return statistics.median(took[2:])


def mindspore_calls() -> tuple[dict[str, Callable], Callable]:
    """A cell for each step, by name; and the function that makes a tensor of an array."""
    import mindspore as ms
    from mindspore import nn, ops

    from encoder.runtime.device import use_device

    use_device("CPU")

    class Cell(nn.Cell):
        def __init__(self, op):
            super().__init__()
            self.op = op

        def construct(self, *x):
            return self.op(*x)

    cells = {
        "product 384 to 1,536": ops.MatMul(transpose_b=True),
        "product 1,536 to 384": ops.MatMul(transpose_b=True),
        "product 1,536 to 384, weight stored [in, out]": ops.MatMul(),
        "scores of the heads": ops.BatchMatMul(transpose_b=True),
        "softmax of the scores": ops.Softmax(),
        "GELU": nn.GELU(approximate=False),
        "sum of two": ops.Add(),
        "layer norm": nn.LayerNorm((WIDTH,)),
    }
    return {name: Cell(op) for name, op in cells.items()}, ms.Tensor


def torch_calls() -> tuple[dict[str, Callable], Callable]:
    """The same for PyTorch."""
    import torch
    from torch.nn import functional as f

    calls = {
        "product 384 to 1,536": lambda a, b: a @ b.T,
        "product 1,536 to 384": lambda a, b: a @ b.T,
        "product 1,536 to 384, weight stored [in, out]": torch.matmul,
        "scores of the heads": lambda a, b: a @ b.transpose(-1, -2),
        "softmax of the scores": lambda x: torch.softmax(x, -1),
        "GELU": f.gelu,
        "sum of two": torch.add,
        "layer norm": lambda x: f.layer_norm(x, (WIDTH,)),
    }
    return calls, torch.from_numpy


def measured(calls: dict[str, Callable], tensor: Callable, rounds: int) -> dict[str, float]:
    """Median milliseconds of each step."""
    rng = np.random.default_rng(0)
    took = {}
    for name, call in calls.items():
        tensors = [tensor(rng.standard_normal(shape, dtype=np.float32)) for shape in SHAPES[name]]
        took[name] = median_ms(lambda: call(*tensors), rounds)  # noqa: B023
    return took


def measured_by_torch(python: str, rounds: int) -> dict[str, float]:
    """The same, by another interpreter, which has PyTorch."""
    command = [python, "-m", "benchmarks.kernels", "--framework", "torch", "--rounds", str(rounds)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{python} can't run it: {done.stderr[-500:]}")
    return json.loads(done.stdout)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--torch-python", help="the interpreter of an environment with requirements-bench.txt")
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--framework", choices=("both", "torch"), default="both", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.framework == "torch":
        print(json.dumps(measured(*torch_calls(), options.rounds)))
        return
    theirs = measured_by_torch(options.torch_python, options.rounds) if options.torch_python else {}
    ours = measured(*mindspore_calls(), options.rounds)
    print("| step | MindSpore ms | PyTorch ms |\n|---|---|---|")
    for name in SHAPES:
        other = theirs.get(name)
        print(f"| {name} | {ours[name]:.1f} | {'' if other is None else f'{other:.1f}'} |")


if __name__ == "__main__":
    main()
