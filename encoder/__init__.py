"""OPT in MindSpore: photos and sentences in, unit vectors, tokens and match logits out.

Importing this package does not import mindspore, and neither does `open_encoder` on CPU, where ONNX Runtime runs the network.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from encoder.runtime.encoder import OptEncoder

__all__ = ["open_encoder"]

os.environ.setdefault("GLOG_v", "3")  # MindSpore's warnings on standard error are not for the people who use Panoptes


def open_encoder(folder: Path | None = None, device: str | None = None, number: int | None = None) -> OptEncoder:
    """Open the encoder of a model folder.

    Args:
        folder: the model folder. Without one, the model that PANOPTES_MODEL names is opened, as `ModelRegistry.chosen` reads
            it in the home that PANOPTES_HOME names; without that, the shipped opt-mini.
        device: "CPU" or "Ascend" (default: PANOPTES_DEVICE, then CPU).
        number: which of several cards.

    Returns:
        The encoder; a `Reranker`, whose vectors are 0 wide, of a model that can only re-rank.

    Raises:
        BadCheckpoint: the folder cannot be used (BadGraphs: its exported graphs don't fit).
        UnknownModel, UnknownDevice: there is no such model or device.
        NoOnnxRuntime, NoMindSpore: what would run the network is not installed.
    """
    from encoder.model_folder import read_config
    from encoder.registry import ModelRegistry
    from encoder.runtime.encoder import OptEncoder
    from encoder.runtime.reranker import Reranker

    folder = Path(folder) if folder else ModelRegistry.of_home().chosen(None)
    kind = Reranker if read_config(folder).dim == 0 else OptEncoder
    return kind(folder, device, number)
