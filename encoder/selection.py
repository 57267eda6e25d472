"""Which model answers: one that finds, and beside it one that re-ranks, if one was named. Never imports mindspore."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from encoder.errors import NoVectors
from encoder.model_folder import fingerprint, read_config
from encoder.runtime.multi_device import MultiDeviceEncoder
from encoder.runtime.pair import PairedConfig, PairedEncoder, paired_fingerprint


@dataclass(frozen=True)
class ModelSelection:
    """Two model folders, the second of which need not be; `first` must have vectors, or NoVectors is raised."""

    first: Path
    reranker: Path | None = None

    def __post_init__(self) -> None:
        if read_config(self.first).dim == 0:
            raise NoVectors(
                f"The model in {self.first} can only re-rank: it has no vectors to find with. Name it with "
                "--reranker, beside a --model that finds."
            )

    @cached_property
    def config(self):
        """The config, or that of the pair."""
        first = read_config(self.first)
        return first if self.reranker is None else PairedConfig(first, read_config(self.reranker))

    @cached_property
    def fingerprint(self) -> str:
        """The fingerprint of the encoder that `open` gives."""
        return paired_fingerprint(fingerprint(self.first), None if self.reranker is None else fingerprint(self.reranker))

    def open(self, device: str | None = None, number: int | None = None):
        """The encoder on a device, the card `number` of several: an `Encoder`, or a PairedEncoder of two."""
        from encoder import open_encoder

        first = open_encoder(self.first, device, number)
        return first if self.reranker is None else PairedEncoder(first, open_encoder(self.reranker, device, number))

    @contextmanager
    def opened(self, device: str | None = None, devices: int = 1):
        """The encoder, or of several `devices` a MultiDeviceEncoder, which only encodes, for a `with`."""
        if devices == 1:
            yield self.open(device)
            return
        device = device or os.environ.get("PANOPTES_DEVICE") or "CPU"
        with MultiDeviceEncoder(partial(self.open, device), self.config, self.fingerprint, devices, device) as encoder:
            yield encoder
