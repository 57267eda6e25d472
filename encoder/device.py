"""Which device MindSpore runs on, and its compile cache."""

from __future__ import annotations

import os
from pathlib import Path

import mindspore as ms

from encoder.errors import UnknownDevice

DEVICES = ("CPU", "Ascend")


def use_device(name: str | None = None) -> str:
    """Graph mode on `name`, or on PANOPTES_DEVICE, or on CPU; gives the device's name. Raises UnknownDevice."""
    name = name or os.environ.get("PANOPTES_DEVICE") or "CPU"
    if name not in DEVICES:
        raise UnknownDevice(f"PANOPTES_DEVICE is {name!r}; set it to CPU or Ascend.")
    try:
        ms.set_context(mode=ms.GRAPH_MODE)
        ms.set_device(name)
    except (RuntimeError, ValueError) as error:
        raise UnknownDevice(f"The device {name} does not answer; check its driver, or set PANOPTES_DEVICE=CPU.") from error
    return name


def keep_compiled_graphs(folder: Path) -> None:
    """Keep compiled graphs in `folder`, so that the next process starts in a fraction of a second a shape."""
    folder.mkdir(parents=True, exist_ok=True)
    ms.set_context(enable_compile_cache=True, compile_cache_path=str(folder))
