"""A model that is run by the one runtime or the other."""

from __future__ import annotations

from pathlib import Path

import pytest

from encoder import open_encoder
from encoder.runtime.encoder import OptEncoder

RUNTIMES = ("onnxruntime", "mindspore")
EVERY_SHAPE = "mindspore at every shape"
WAYS = (*RUNTIMES, pytest.param(EVERY_SHAPE, marks=pytest.mark.long))
"""How `encoder_by` opens a model."""


def open_with(runtime: str, folder: Path) -> OptEncoder:
    """The encoder of a model folder, run by a runtime."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PANOPTES_RUNTIME", runtime)
        return open_encoder(folder)


def encoder_by(way: str, folder: Path) -> OptEncoder:
    """The encoder of a model folder, run in one of WAYS.

    "mindspore" pads to the smallest and the largest of the lengths and of the numbers of regions alone: each shape more is
    compiled for seconds.
    """
    if way == EVERY_SHAPE:
        return open_with("mindspore", folder)
    encoder = open_with(way, folder)
    if way == "mindspore":
        encoder._lengths, encoder._counts = (sorted({all[0], all[-1]}) for all in (encoder._lengths, encoder._counts))
    return encoder
