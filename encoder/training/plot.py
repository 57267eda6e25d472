"""Plots a training: loss and recall over time."""

from __future__ import annotations

import json
from pathlib import Path


def plot_run(log: Path, picture: Path) -> None:
    """Plot every stage of `log`, the JSON Lines of `loop.Stage`, to a PNG: loss on the left, recall on the right."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = [json.loads(line) for line in log.read_text().splitlines()]
    stages = list(dict.fromkeys(row["stage"] for row in rows))
    figure, axes = plt.subplots(len(stages), 2, figsize=(10, 2.4 * len(stages)), squeeze=False)
    for (left, right), stage in zip(axes, stages, strict=True):
        own = [row for row in rows if row["stage"] == stage]
        minutes = [row["seconds"] / 60 for row in own]
        left.plot(minutes, [row["loss"] for row in own], marker=".")
        left.set(title=stage, ylabel="loss")
        for key in (key for key in own[0] if "R@" in key):
            right.plot(minutes, [row[key] for row in own], marker=".", label=key)
        right.set(ylabel="val, %")
        right.legend(fontsize=7)
    for axis in axes[-1]:
        axis.set_xlabel("minutes in this stage")
    figure.tight_layout()
    figure.savefig(picture, dpi=110)
    plt.close(figure)
