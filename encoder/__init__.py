"""OPT in MindSpore: photos and sentences in, unit vectors, tokens and match logits out.

Importing this package does not import mindspore, and neither does `open_encoder` on CPU, where ONNX Runtime runs the network.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from encoder.runtime import Encoder

__all__ = ["open_encoder"]

os.environ.setdefault("GLOG_v", "3")  # MindSpore's warnings on standard error are not for the people who use Panoptes


def open_encoder(folder: Path | None = None, device: str | None = None, number: int | None = None) -> Encoder:
    """The encoder of a model folder; without one, of the model that PANOPTES_MODEL names (as `Models.chosen` reads it, in the
    home that PANOPTES_HOME names), and without that of the shipped opt-mini.

    A model that can only re-rank gives a `Reranker`, whose vectors are 0 wide.

    `device` is "CPU" or "Ascend" (default: PANOPTES_DEVICE, then CPU), `number` which of several cards. Raises BadCheckpoint
    (BadGraphs where the exported graphs don't fit), UnknownModel, UnknownDevice, NoOnnxRuntime or NoMindSpore.
    """
    from encoder.checkpoint import read_config
    from encoder.models import Models
    from encoder.reranker import Reranker
    from encoder.runtime import Encoder

    folder = Path(folder) if folder else Models.of_home().chosen(None)
    kind = Reranker if read_config(folder).dim == 0 else Encoder
    return kind(folder, device, number)
