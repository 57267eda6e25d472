"""A model that is run by the one runtime or the other."""

from __future__ import annotations

from pathlib import Path

import pytest

from encoder import open_encoder
from encoder.runtime.encoder import OptEncoder

RUNTIMES = ("onnxruntime", "mindspore")


def open_with(runtime: str, folder: Path) -> OptEncoder:
    """The encoder of a model folder, run by a runtime."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PANOPTES_RUNTIME", runtime)
        return open_encoder(folder)


def with_few_shapes(encoder, monkeypatch):
    """The encoder, with the two largest buckets of lengths and of regions alone: each shape more is compiled for seconds."""
    for buckets in ("_lengths", "_counts"):
        monkeypatch.setattr(encoder, buckets, getattr(encoder, buckets)[-2:])
    return encoder
