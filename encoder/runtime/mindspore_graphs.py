"""Runs the entries of a model with MindSpore: on Ascend, and on CPU as the reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from mindspore import Tensor

from encoder import model_folder
from encoder.config import AnyConfig
from encoder.network.blocks import TransposedLinear
from encoder.network.entries import entries_of, network_of
from encoder.runtime.device import CompiledCell, use_device, worker
from encoder.runtime.graph_cache import process_cache
from encoder.runtime.memory import give_back_memory


class MindSporeGraphs:
    """The network of a model folder. Each shape is compiled once and kept in the compile cache.

    Raises:
        UnknownDevice: there is no such device, or it doesn't answer.
        BadCheckpoint: the weights don't fit the network.
    """

    padded = True
    worker = image_worker = worker
    image_batches, text_batches = (1, 8), (1, 8, 32)

    def __init__(self, folder: Path, config: AnyConfig, fingerprint: str, device: str, number: int | None):
        self.device = use_device(device, number)
        self._cells: dict[str, CompiledCell] = {}
        worker.call(self._load, folder, config, fingerprint)
        give_back_memory()

    @property
    def compiled(self) -> set[tuple]:
        """The entry and the shapes of each call that was compiled."""
        return {(entry, *shapes) for entry, cell in self._cells.items() for shapes in cell.shapes}

    def run(self, entry: str, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        """Run an entry (see encoder/network/entries.py); new shapes are compiled first."""
        return self._cells[entry](*arrays)

    def _load(self, folder: Path, config: AnyConfig, fingerprint: str) -> None:
        model = network_of(config)
        parameters = dict(model.parameters_and_names())
        weights = model_folder.read_weights(folder)
        model_folder.check({name: p.shape for name, p in parameters.items()}, weights, folder)
        for name, parameter in parameters.items():
            parameter.set_data(Tensor(weights[name].astype(np.float32)))
        for _, cell in model.cells_and_names():
            if isinstance(cell, TransposedLinear):
                cell.turn()
        model.set_train(False)
        cache = process_cache(self.device)
        self._cells = {
            name: CompiledCell(entry(model).set_train(False), cache, fingerprint) for name, entry in entries_of(config).items()
        }
