"""Makes a table of what the frameworks measured: medians, ratios, shares of the machine's peak; checks that they agree."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field

import numpy as np

from benchmarks import flops
from benchmarks.material import IMAGES, SENTENCES, TOKENS
from encoder.config import OptConfig

OURS, REFERENCE = "panoptes", "mindspore"
NAMES = {OURS: "Panoptes", "torch": "PyTorch", "onnxruntime": "PyTorch's export", REFERENCE: "MindSpore"}
COUNTS = {"sentences": SENTENCES, "images": IMAGES, "pairs": SENTENCES}
TOLERANCES = {"sentences": 1e-3, "images": 1e-3, "pairs": 1e-2}
"""The largest difference allowed for a number of a unit vector, and for a match logit."""


@dataclass
class Measured:
    """The figures of all rounds.

    Attributes:
        configs: the config of each model.
        rates: a list of rates a second, one for each round, by (model, framework, row).
        peaks: GFLOP/s of the best matrix product that each process saw.
        differences: by model and row, the largest difference between the frameworks' outputs.
    """

    configs: dict[str, OptConfig] = field(default_factory=dict)
    rates: dict[tuple[str, str, str], list[float]] = field(default_factory=dict)
    peaks: list[float] = field(default_factory=list)
    differences: dict[str, dict[str, float]] = field(default_factory=dict)

    def add(self, model: str, framework: str, report: dict) -> None:
        """Add one round of one framework: {"ms": {row: milliseconds}, "peak": GFLOP/s}."""
        self.peaks.append(report["peak"])
        for row, taken in report["ms"].items():
            self.rates.setdefault((model, framework, row), []).append(1000 * COUNTS[row] / taken)

    @property
    def peak(self) -> float:
        """GFLOP/s of the best matrix product that any process saw."""
        return max(self.peaks)

    def frameworks(self) -> list[str]:
        """The frameworks that were measured, ours first."""
        return [name for name in NAMES if any(key[1] == name for key in self.rates)]


def operations(config: OptConfig, row: str) -> int:
    """The number of floating-point operations of one sentence, image or pair."""
    if row == "images":
        return flops.image(config)
    return flops.text(config, TOKENS) if row == "sentences" else flops.pair(config, TOKENS)


def disagreements(outputs: dict[str, dict[str, np.ndarray]]) -> tuple[dict[str, float], list[str]]:
    """Compare all outputs with ours.

    Returns:
        The largest difference in each row, and a sentence for each framework and row beyond its tolerance.
    """
    largest, sentences = dict.fromkeys(TOLERANCES, 0.0), []
    for framework in outputs.keys() - {OURS}:
        for row, tolerance in TOLERANCES.items():
            difference = float(np.abs(outputs[framework][row] - outputs[OURS][row]).max())
            largest[row] = max(largest[row], difference)
            if not difference <= tolerance:
                sentences.append(
                    f"{NAMES[framework]} differs by {difference:.2g} in {row}, more than {tolerance:g}: "
                    "what was timed is not the same work."
                )
    return largest, sorted(sentences)


def table(measured: Measured) -> str:
    """A Markdown table with a row for each model and kind of work."""
    names = measured.frameworks()
    others = names[1:]
    head = [
        "model",
        "a second",
        *(NAMES[name] for name in names),
        *(f"ours to {NAMES[name]}'s" for name in others),
        "GFLOP each",
        f"share of {measured.peak:.0f} GFLOP/s",
        *(["largest difference"] if others else []),
    ]
    lines = [head, ["---"] * len(head)]
    for model, config in measured.configs.items():
        lines += [_line(measured, model, config, row, names) for row in COUNTS]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _line(measured: Measured, model: str, config: OptConfig, row: str, names: list[str]) -> list[str]:
    rates = {name: measured.rates[model, name, row] for name in names}
    medians = {name: statistics.median(values) for name, values in rates.items()}
    work = operations(config, row) / 1e9
    shares = " / ".join(f"{100 * rate * work / measured.peak:.0f}" for rate in medians.values())
    return [
        model,
        row,
        *(f"{rate:.{0 if rate >= 100 else 1}f}" for rate in medians.values()),
        *(_ratio(rates[names[0]], rates[name]) for name in names[1:]),
        f"{work:.2f}",
        f"{shares} %",
        *([f"{measured.differences[model][row]:.0e}"] if names[1:] else []),
    ]


def _ratio(ours: list[float], theirs: list[float]) -> str:
    """The median of the rounds' ratios, with the lowest and the highest."""
    ratios = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
