"""The models that answer: one for the first stage and, if chosen, another to re-rank. Never imports mindspore."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from encoder.api import BulkEncoder, Encoder, EncoderConfig
from encoder.devices import device_name
from encoder.errors import NoVectors
from encoder.model_folder import fingerprint, read_config
from encoder.runtime.multi_device import MultiDeviceEncoder
from encoder.runtime.pair import PairedConfig, PairedEncoder, paired_fingerprint


@dataclass(frozen=True)
class ModelSelection:
    """The folders of the chosen models.

    Attributes:
        first: the model that finds.
        reranker: the model that re-ranks; None: the first one does.

    Raises:
        NoVectors: `first` can only re-rank.
    """

    first: Path
    reranker: Path | None = None

    def __post_init__(self) -> None:
        if read_config(self.first).dim == 0:
            raise NoVectors(
                f"The model in {self.first} can only re-rank: it has no vectors to find with. Name it with "
                "--reranker, beside a --model that finds."
            )

    @cached_property
    def config(self) -> EncoderConfig:
        """The config of the encoder that `open` gives."""
        first = read_config(self.first)
        return first if self.reranker is None else PairedConfig(first, read_config(self.reranker))

    @cached_property
    def fingerprint(self) -> str:
        """The fingerprint of the encoder that `open` gives."""
        return paired_fingerprint(fingerprint(self.first), None if self.reranker is None else fingerprint(self.reranker))

    def open(self, device: str | None = None, number: int | None = None) -> Encoder:
        """Open the encoder: an `OptEncoder`, or a `PairedEncoder` of two.

        Args:
            device: "CPU" or "Ascend" (default: PANOPTES_DEVICE, or CPU).
            number: the number of the card, if there are several.
        """
        from encoder import open_encoder

        first = open_encoder(self.first, device, number)
        return first if self.reranker is None else PairedEncoder(first, open_encoder(self.reranker, device, number))

    @contextmanager
    def opened(self, device: str | None = None, devices: int = 1) -> Iterator[BulkEncoder]:
        """Open the encoder for a `with`; on several `devices` it is a `MultiDeviceEncoder`, which only encodes."""
        if devices == 1:
            yield self.open(device)
            return
        device = device_name(device)
        with MultiDeviceEncoder(partial(self.open, device), self.config, self.fingerprint, devices, device) as encoder:
            yield encoder
