"""OPT in MindSpore: photos and sentences in, unit vectors, tokens and match logits out.

Importing this package does not import mindspore. On CPU `open_encoder` does not either: there ONNX Runtime runs the network.
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
        folder: the model folder (default: that of the model PANOPTES_MODEL in the home PANOPTES_HOME, see
            `ModelRegistry.chosen`; if it is unset, the shipped opt-mini).
        device: "CPU" or "Ascend" (default: PANOPTES_DEVICE, or CPU).
        number: the number of the card, if there are several.

    Returns:
        The encoder. For a model that can only re-rank it is a `Reranker`, whose vectors are 0 wide.

    Raises:
        BadCheckpoint: the folder cannot be used; BadGraphs if its exported graphs don't fit.
        UnknownModel, UnknownDevice: there is no such model or device.
        NoOnnxRuntime, NoMindSpore: the library that runs the network is not installed.
    """
    from encoder.model_folder import read_config
    from encoder.registry import ModelRegistry
    from encoder.runtime.encoder import OptEncoder
    from encoder.runtime.reranker import Reranker

    folder = Path(folder) if folder else ModelRegistry.of_home().chosen(None)
    kind = Reranker if read_config(folder).dim == 0 else OptEncoder
    return kind(folder, device, number)
