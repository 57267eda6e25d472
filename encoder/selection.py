"""The models that answer: one for the first stage and, if chosen, another to re-rank; and the one that writes captions.

Never imports mindspore.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from encoder.api import BulkEncoder, CaptionWriter, Encoder, EncoderConfig, ImageConfig
from encoder.captioner_config import CaptioningConfig
from encoder.devices import device_name
from encoder.errors import NoVectors, OtherEncoder
from encoder.model_folder import CAPTIONER, CONFIG, fingerprint, read_any_config, read_captioner_config, read_config
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
        CannotSearch: one of them writes captions.
    """

    first: Path
    reranker: Path | None = None

    def __post_init__(self) -> None:
        if read_config(self.first).dim == 0:
            raise NoVectors(
                f"The model in {self.first} can only re-rank: it has no vectors to find with. Name it with "
                "--reranker, beside a --model that finds."
            )
        if self.reranker is not None:
            read_config(self.reranker)

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


@dataclass(frozen=True)
class CaptionerSelection:
    """The chosen captioner, not yet opened.

    Attributes:
        folder: of the captioner.
        encoder: the folder of the model whose tokens it reads; None: it reads images itself.
    """

    folder: Path
    encoder: Path | None

    @cached_property
    def fingerprint(self) -> str:
        """The fingerprint of what `open` gives."""
        return fingerprint(self.folder)

    @cached_property
    def languages(self) -> tuple[str, ...]:
        """The languages that it writes."""
        return read_captioner_config(self.folder).languages

    @cached_property
    def config(self) -> ImageConfig:
        """What reading an image needs to know of it."""
        return read_captioner_config(self.folder) if self.encoder is None else read_config(self.encoder)

    def open(self, encoder: Encoder | None = None, device: str | None = None, number: int | None = None) -> CaptionWriter:
        """Open the captioner.

        Args:
            encoder: one that is open already; it is used if the captioner reads its tokens.
            device: "CPU" or "Ascend" (default: PANOPTES_DEVICE, or CPU).
            number: the number of the card, if there are several.
        """
        from encoder import open_encoder
        from encoder.runtime.captioner import Captioner, EncoderCaptioner

        captioner = Captioner(self.folder, device, number)
        if self.encoder is None:
            return captioner
        if encoder is None or encoder.fingerprint != captioner.encoder_fingerprint:
            encoder = open_encoder(self.encoder, device, number)
        return EncoderCaptioner(encoder, captioner)


def captioner_of(folder: Path, models: ModelSelection) -> CaptionerSelection:
    """The captioner in a folder: that of a captioner itself, or of a model that has one.

    Args:
        folder: of a captioner, or of a model with a captioner in its folder `captioner`.
        models: those that were chosen to search, one of which encodes for a captioner that reads an encoder's tokens.

    Raises:
        CannotWrite: the model has no captioner.
        OtherEncoder: the captioner reads the tokens of a model that is neither chosen nor beside it.
    """
    beside = folder / CAPTIONER
    if (beside / CONFIG).is_file():
        return _selected(beside, [folder, models.first, models.reranker])
    return _selected(folder, [models.first, models.reranker])


def _selected(folder: Path, encoders: list[Path | None]) -> CaptionerSelection:
    wanted = read_captioner_config(folder).encoder
    if not wanted:
        return CaptionerSelection(folder, None)
    found = {fingerprint(one): one for one in reversed(encoders) if one is not None}
    if wanted not in found:
        raise OtherEncoder(folder, wanted, ", ".join(found))
    return CaptionerSelection(folder, found[wanted])


def can_write(folder: Path) -> bool:
    """Whether a model is a captioner, or has one."""
    return (folder / CAPTIONER / CONFIG).is_file() or isinstance(read_any_config(folder), CaptioningConfig)
