"""A model that is run by the one runtime or the other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from encoder import open_encoder
from encoder.runtime.encoder import OptEncoder

if TYPE_CHECKING:
    from encoder.runtime.mindspore_graphs import MindSporeGraphs

RUNTIMES = ("onnxruntime", "mindspore")
EVERY_SHAPE = "mindspore at every shape"
WAYS = (*RUNTIMES, pytest.param(EVERY_SHAPE, marks=pytest.mark.long))
"""How `encoder_by` opens a model."""


def open_with(runtime: str, folder: Path) -> OptEncoder:
    """The encoder of a model folder, run by a runtime."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PANOPTES_RUNTIME", runtime)
        return open_encoder(folder)


@contextmanager
def operator_by_operator() -> Iterator[None]:
    """MindSpore runs what is called operator by operator: in graph mode each shape is compiled first, for seconds.

    Opening an encoder sets graph mode again.
    """
    import mindspore as ms

    ms.set_context(mode=ms.PYNATIVE_MODE)
    try:
        yield
    finally:
        ms.set_context(mode=ms.GRAPH_MODE)


def counting_shapes(folder: Path) -> OptEncoder:
    """The encoder of a model folder by MindSpore, in which ONNX Runtime gives the numbers of what MindSpore would compile.

    `graphs.compiled` has each shape that MindSpore would have compiled, for seconds.
    """
    encoder, onnx = open_with("mindspore", folder), open_with("onnxruntime", folder).graphs
    for name, cell in cast("MindSporeGraphs", encoder.graphs)._cells.items():
        cell._cell = _Exported(onnx, name)
    return encoder


class _Exported:
    """Stands in for an entry of the network."""

    def __init__(self, onnx, entry: str):
        self.onnx, self.entry = onnx, entry

    def __call__(self, *tensors):
        return tuple(tensors[0].from_numpy(one) for one in self.onnx.run(self.entry, *(one.asnumpy() for one in tensors)))


def encoder_by(way: str, folder: Path) -> OptEncoder:
    """The encoder of a model folder, run in one of WAYS.

    "mindspore" pads to the smallest and the largest of the lengths and of the numbers of regions alone, and knows no batch of
    more than 8: each shape more is compiled for seconds.
    """
    if way == EVERY_SHAPE:
        return open_with("mindspore", folder)
    encoder = open_with(way, folder)
    if way == "mindspore":
        encoder._lengths, encoder._counts = (sorted({all[0], all[-1]}) for all in (encoder._lengths, encoder._counts))
        encoder.graphs.text_batches, encoder.match_batches = (1, 8), encoder.match_batches[:1]
    return encoder
