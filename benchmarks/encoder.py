"""Compares the encoder with PyTorch, and with ONNX Runtime on PyTorch's export, with the same weights: `make bench`.

    python -m benchmarks.encoder --torch-python .venv-bench/bin/python

Each framework runs in a process of its own, one after the other, in another order each round. A figure is the median over the
rounds. If the second environment is missing, only our own rows are printed. Exits with 1 if the frameworks' outputs differ.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import click
import numpy as np

from benchmarks.comparison import NAMES, OURS, REFERENCE, Measured, disagreements, table
from benchmarks.material import write_inputs, write_opt_v2_base
from encoder.model_folder import SHIPPED, read_config

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Bench:
    """One run of the benchmark.

    Attributes:
        folder: where models, inputs and outputs are.
        other: the interpreter that has PyTorch; None if there is none.
        seconds: how long each row is repeated.
        reference: also measure MindSpore.
        environment: variables for all processes.
    """

    folder: Path
    other: str | None
    seconds: float
    reference: bool = False
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def frameworks(self) -> tuple[str, ...]:
        """The frameworks to measure."""
        available = {OURS: True, "torch": self.other, "onnxruntime": self.other, REFERENCE: self.reference}
        return tuple(name for name in NAMES if available[name])

    def prepare(self, name: str) -> None:
        """Make a model folder with its inputs and graphs and, if PyTorch is there, PyTorch's export."""
        model = self.folder / name
        if name == "opt-mini":
            shutil.copytree(SHIPPED, model)
        else:
            write_opt_v2_base(model)
        write_inputs(model, self._inputs(name))
        self._run("graphs", sys.executable, name)
        if self.other:
            self._run("export", self.other, name)

    def measure(self, framework: str, name: str) -> tuple[dict, dict[str, np.ndarray]]:
        """Run one framework on one model.

        Returns:
            {"ms": {row: milliseconds}, "peak": GFLOP/s}, and the outputs by row.
        """
        outputs = self.folder / "outputs.npz"
        python = self.other if self.other and framework not in (OURS, REFERENCE) else sys.executable
        printed = self._run(framework, python, name, str(outputs))
        with np.load(outputs) as values:
            return json.loads(printed.splitlines()[-1]), dict(values)

    def _inputs(self, name: str) -> Path:
        return self.folder / f"{name}.npz"

    def _run(self, task: str, python: str, name: str, *outputs: str) -> str:
        command = [
            python,
            "-m",
            "benchmarks.frameworks",
            task,
            str(self.folder / name),
            str(self._inputs(name)),
            *outputs,
            "--seconds",
            str(self.seconds),
        ]
        done = subprocess.run(command, cwd=ROOT, env=os.environ | self.environment, capture_output=True, text=True)
        if done.returncode:
            raise click.ClickException(f"{task} failed on {name}:\n{done.stderr[-2000:]}")
        return done.stdout


@click.command()
@click.option(
    "--torch-python",
    default=".venv-bench/bin/python",
    show_default=True,
    help="The interpreter of an environment with requirements-bench.txt.",
)
@click.option("--rounds", default=5, show_default=True)
@click.option("--seconds", default=3.0, show_default=True, help="How long each row is repeated in a round.")
@click.option(
    "--model",
    "models",
    multiple=True,
    type=click.Choice(["opt-mini", "opt-v2-base"]),
    default=["opt-mini", "opt-v2-base"],
    show_default=True,
)
@click.option("--reference", is_flag=True, help="Also the same network run by MindSpore.")
@click.option("--bounds/--no-bounds", default=True, help="Also what opt-mini is bound to keep (benchmarks.bounds).")
def main(torch_python: str, rounds: int, seconds: float, models: tuple[str, ...], reference: bool, bounds: bool) -> None:
    """Measure and print Markdown."""
    if bounds:
        subprocess.run([sys.executable, "-m", "benchmarks.bounds"], cwd=ROOT, check=True)
        print(flush=True)
    found = versions(torch_python)
    (ROOT / "var").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=ROOT / "var") as folder:
        bench = Bench(Path(folder), torch_python if found else None, seconds, reference)
        load = os.getloadavg()[0]
        measured, problems = _compare(bench, models, rounds)
    against = f", {found}" if found else ""
    print(f"{_machine()}, load {load:.1f} at the start; rounds: {rounds}; ONNX Runtime {version('onnxruntime')}{against}\n")
    print(table(measured))
    if not found:
        print(
            f"\nPyTorch and ONNX Runtime are missing: {torch_python} cannot import them; `make bench` installs "
            "requirements-bench.txt beside ours."
        )
    for problem in problems:
        print(problem, file=sys.stderr)
    sys.exit(1 if problems else 0)


def _compare(bench: Bench, models: tuple[str, ...], rounds: int) -> tuple[Measured, list[str]]:
    measured, problems = Measured(), []
    for name in models:
        _say(f"preparing {name}")
        bench.prepare(name)
        measured.configs[name] = read_config(bench.folder / name)
    for number in range(rounds):
        order = bench.frameworks[number % len(bench.frameworks) :] + bench.frameworks[: number % len(bench.frameworks)]
        for name in models:
            outputs = {}
            for framework in order:
                _say(f"round {number + 1} of {rounds}: {name} with {framework}")
                report, outputs[framework] = bench.measure(framework, name)
                measured.add(name, framework, report)
            measured.differences[name], found = disagreements(outputs)
            problems += [f"{name}: {problem}" for problem in found]
    return measured, problems


def versions(python: str) -> str | None:
    """The versions of PyTorch and ONNX Runtime in the other environment; None if either is missing."""
    code = "import torch, onnxruntime; print('PyTorch', torch.__version__ + ', ONNX Runtime', onnxruntime.__version__)"
    try:
        done = subprocess.run([python, "-c", code], capture_output=True, text=True, cwd=ROOT)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _machine() -> str:
    """The processor's name as Linux has it, and the number of its cores."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} cores"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
