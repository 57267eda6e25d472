"""OPT in MindSpore: photos and sentences in, unit vectors, tokens and match logits out.

Importing this package does not import mindspore; `open_encoder` does.
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
    """The encoder of a model folder: the shipped opt-mini unless `folder` or PANOPTES_MODEL names another.

    A model that can only re-rank gives a `Reranker`, whose vectors are 0 wide.

    `device` is "CPU" or "Ascend" (default: PANOPTES_DEVICE, then CPU), `number` which of several cards. Raises BadCheckpoint
    or UnknownDevice.
    """
    from encoder.checkpoint import chosen_folder, read_config

    folder = chosen_folder(folder)
    if read_config(folder).dim == 0:
        from encoder.reranker import Reranker

        return Reranker(folder, device, number)
    from encoder.runtime import Encoder

    return Encoder(folder, device, number)
