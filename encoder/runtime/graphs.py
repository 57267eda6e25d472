"""What runs a network: ONNX Runtime on CPU, MindSpore on Ascend and as the reference. Imports neither before it is needed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

import numpy as np

from encoder.config import OptConfig
from encoder.errors import NoMindSpore, UnknownDevice, UnknownRuntime
from encoder.runtime.micro_batching import BatchingWorker
from encoder.single_stream_config import SingleStreamConfig

DEVICES = ("CPU", "Ascend")
ONNXRUNTIME, MINDSPORE = "onnxruntime", "mindspore"


class Graphs(Protocol):
    """The entries of a model (encoder/network/entries.py), ready to run.

    Attributes:
        device: "CPU" or "Ascend".
        padded: whether a batch must have one of the sizes below; else any up to the last of them will do.
        image_batches, text_batches: the sizes of a batch of images, and of texts, upwards.
        worker: the threads that run texts and pairs; several may share a batch.
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


def open_graphs(
    folder: Path, config: OptConfig | SingleStreamConfig, fingerprint: str, device: str | None = None, number: int | None = None
) -> Graphs:
    """The graphs of a model folder, on `device` (default: PANOPTES_DEVICE, or CPU), card `number` of several.

    Raises:
        UnknownDevice: there is no such device, or it doesn't answer.
        UnknownRuntime: PANOPTES_RUNTIME names none that runs on the device.
        NoOnnxRuntime, NoMindSpore: what is to run the network isn't installed.
        UnknownPrecision, BadThreads: PANOPTES_PRECISION or PANOPTES_THREADS can't be what it is.
        BadGraphs, NoInt8Graphs, BadCheckpoint: the model's files don't fit.
    """
    device = device or os.environ.get("PANOPTES_DEVICE") or DEVICES[0]
    if device not in DEVICES:
        raise UnknownDevice(f"PANOPTES_DEVICE is {device!r}; set it to CPU or Ascend.")
    if runtime_of(device) == ONNXRUNTIME:
        from encoder.runtime.onnx_graphs import OnnxGraphs

        return OnnxGraphs(folder, config, fingerprint)
    check_mindspore(f"PANOPTES_RUNTIME={MINDSPORE}" if device == "CPU" else f"PANOPTES_DEVICE={device}")
    from encoder.runtime.mindspore_graphs import MindSporeGraphs

    return MindSporeGraphs(folder, config, fingerprint, device, number)


def runtime_of(device: str) -> str:
    """What runs a network on a device: PANOPTES_RUNTIME, or by default ONNX Runtime on CPU. Raises UnknownRuntime."""
    named = os.environ.get("PANOPTES_RUNTIME") or (ONNXRUNTIME if device == "CPU" else MINDSPORE)
    if named not in (ONNXRUNTIME, MINDSPORE):
        raise UnknownRuntime(f"PANOPTES_RUNTIME is {named!r}; set it to {ONNXRUNTIME} or {MINDSPORE}.")
    if named == ONNXRUNTIME and device != "CPU":
        raise UnknownRuntime(f"PANOPTES_RUNTIME is {ONNXRUNTIME}, which runs on CPU alone; unset it on {device}.")
    return named


def check_mindspore(wanted: str) -> None:
    """Raise NoMindSpore where MindSpore isn't installed; `wanted` is what needs it."""
    from importlib.util import find_spec

    if find_spec("mindspore") is None:
        raise NoMindSpore(wanted)
