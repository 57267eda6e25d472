"""The encoder beside PyTorch, and ONNX Runtime on PyTorch's export, with the same weights: `make bench`.

    python -m benchmarks.encoder --torch-python .venv-bench/bin/python

Every framework works in a process of its own, one after the other, round after round in another order; a figure is the median
over the rounds. Where the second environment is missing, only our own rows are printed. Exit code 1: the three disagree.
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
    """One run: its folder, the two interpreters (`other` is None where there is no PyTorch), seconds for each row."""

    folder: Path
    other: str | None
    seconds: float
    reference: bool = False
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def frameworks(self) -> tuple[str, ...]:
        """Who takes part."""
        there = {OURS: True, "torch": self.other, "onnxruntime": self.other, REFERENCE: self.reference}
        return tuple(name for name in NAMES if there[name])

    def prepare(self, name: str) -> None:
        """A model folder with its inputs and, where ONNX Runtime takes part, its exported graphs."""
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
        """{"ms": {row: milliseconds}, "peak": GFLOP/s} of one framework on one model, and what it computed."""
        outputs = self.folder / "outputs.npz"
        said = self._run(framework, sys.executable if framework in (OURS, REFERENCE) else self.other, name, str(outputs))
        with np.load(outputs) as values:
            return json.loads(said.splitlines()[-1]), dict(values)

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
    for place in range(rounds):
        order = bench.frameworks[place % len(bench.frameworks) :] + bench.frameworks[: place % len(bench.frameworks)]
        for name in models:
            outputs = {}
            for framework in order:
                _say(f"round {place + 1} of {rounds}: {name} with {framework}")
                said, outputs[framework] = bench.measure(framework, name)
                measured.add(name, framework, said)
            measured.differences[name], found = disagreements(outputs)
            problems += [f"{name}: {problem}" for problem in found]
    return measured, problems


def versions(python: str) -> str | None:
    """What the other environment holds, or None where it holds no PyTorch or no ONNX Runtime."""
    code = "import torch, onnxruntime; print('PyTorch', torch.__version__ + ', ONNX Runtime', onnxruntime.__version__)"
    try:
        done = subprocess.run([python, "-c", code], capture_output=True, text=True, cwd=ROOT)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _machine() -> str:
    """The processor's name, as Linux knows it, and the number of its cores."""
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
