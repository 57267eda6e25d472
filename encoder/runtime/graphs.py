"""The choice of what runs a network: ONNX Runtime on CPU, MindSpore on Ascend or as the reference.

Neither is imported before it is needed.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

import numpy as np

from encoder.config import AnyConfig
from encoder.devices import device_name
from encoder.errors import NoMindSpore, UnknownRuntime
from encoder.runtime.micro_batching import BatchingWorker

ONNXRUNTIME, MINDSPORE = "onnxruntime", "mindspore"


class Graphs(Protocol):
    """The entries of a model (encoder/network/entries.py), ready to run.

    Attributes:
        device: "CPU" or "Ascend".
        padded: True if a batch must have one of the sizes below; else it may have any size up to the last of them.
        image_batches, text_batches: the sizes of a batch of images, and of texts, upwards.
        worker: the threads that run texts and pairs; several requests may share a batch.
        image_worker: the threads that run images.
    """

    device: str
    padded: bool
    image_batches: tuple[int, ...]
    text_batches: tuple[int, ...]
    worker: BatchingWorker
    image_worker: BatchingWorker

    def run(self, entry: str, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        """Run an entry by its name."""
        ...


def open_graphs(
    folder: Path, config: AnyConfig, fingerprint: str, device: str | None = None, number: int | None = None
) -> Graphs:
    """Open the graphs of a model folder.

    Args:
        device: "CPU" or "Ascend" (default: PANOPTES_DEVICE, or CPU).
        number: the number of the card, if there are several.

    Raises:
        UnknownDevice: there is no such device, or it doesn't answer.
        UnknownRuntime: PANOPTES_RUNTIME names no runtime that works on the device.
        NoOnnxRuntime, NoMindSpore: the library that runs the network is not installed.
        UnknownPrecision, BadThreads: PANOPTES_PRECISION or PANOPTES_THREADS has a value that it can't have.
        BadGraphs, NoInt8Graphs, BadCheckpoint: the model's files don't fit.
    """
    device = device_name(device)
    if runtime_of(device) == ONNXRUNTIME:
        from encoder.runtime.onnx_graphs import OnnxGraphs

        return OnnxGraphs(folder, config, fingerprint)
    check_mindspore(f"PANOPTES_RUNTIME={MINDSPORE}" if device == "CPU" else f"PANOPTES_DEVICE={device}")
    from encoder.runtime.mindspore_graphs import MindSporeGraphs

    return MindSporeGraphs(folder, config, fingerprint, device, number)


def runtime_of(device: str) -> str:
    """The runtime for a device: PANOPTES_RUNTIME (default: ONNX Runtime on CPU, MindSpore on Ascend).

    Raises:
        UnknownRuntime: there is no such runtime, or it doesn't work on the device.
    """
    named = os.environ.get("PANOPTES_RUNTIME") or (ONNXRUNTIME if device == "CPU" else MINDSPORE)
    if named not in (ONNXRUNTIME, MINDSPORE):
        raise UnknownRuntime(f"PANOPTES_RUNTIME is {named!r}; set it to {ONNXRUNTIME} or {MINDSPORE}.")
    if named == ONNXRUNTIME and device != "CPU":
        raise UnknownRuntime(f"PANOPTES_RUNTIME is {ONNXRUNTIME}, which runs on CPU alone; unset it on {device}.")
    return named


def check_mindspore(wanted: str) -> None:
    """Check that MindSpore is installed.

    Args:
        wanted: what needs it, as the error names it.

    Raises:
        NoMindSpore: it is not installed.
    """
    from importlib.util import find_spec

    if find_spec("mindspore") is None:
        raise NoMindSpore(wanted)
