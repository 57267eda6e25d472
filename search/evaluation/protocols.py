"""Benchmark protocols: which photos are searched together, and how many captions of each take part."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from search.errors import TooFewForProtocol


@dataclass(frozen=True)
class Protocol:
    """Which photos and captions take part; None stands for all.

    Attributes:
        images: the number of photos, the first in the order of the source.
        fold: the number of consecutive photos in a fold. Folds are searched one by one.
        captions: the number of captions of a photo and language, the first in their order.
    """

    images: int | None = None
    fold: int | None = None
    captions: int | None = None


PROTOCOLS = {
    "all": Protocol(),
    "coco-5k": Protocol(images=5000, captions=5),
    "coco-1k": Protocol(images=5000, fold=1000, captions=5),
}
"""By name: everything at once, and the two ways in which Karpathy's split of 5,000 COCO test photos is used: all of it, or the
mean over its five folds of 1,000 consecutive photos. Some COCO photos have six or seven captions: the first five count."""


def check_size(name: str, images: int) -> None:
    """Check that there are enough photos for a protocol.

    Raises:
        TooFewForProtocol: it needs more.
    """
    protocol = PROTOCOLS[name]
    needed = protocol.images or protocol.fold or 1
    if images < needed:
        raise TooFewForProtocol(name, needed, images)


def image_folds(image_ids: np.ndarray, name: str, protocol: Protocol) -> list[np.ndarray]:
    """The photos of each fold, int64.

    Args:
        image_ids: int64 [n], ascending, which is the order of the source.
        name: of the protocol.
        protocol: says how many photos and folds.

    Raises:
        TooFewForProtocol: the protocol needs more photos.
    """
    needed = protocol.images or protocol.fold or 1
    if len(image_ids) < needed:
        raise TooFewForProtocol(name, needed, len(image_ids))
    image_ids = image_ids[: protocol.images]
    size = protocol.fold or len(image_ids)
    return [image_ids[start : start + size] for start in range(0, len(image_ids) - size + 1, size)]


def caption_folds(caption_ids: np.ndarray, owners: np.ndarray, folds: list[np.ndarray], protocol: Protocol) -> list[np.ndarray]:
    """The captions that take part in each fold, int64 ascending.

    Args:
        caption_ids: int64 [m], ascending, of one language.
        owners: int64 [m], their photos.
        folds: what `image_folds` returned.
        protocol: says how many captions of each photo.
    """
    positions = np.arange(len(owners))
    order = np.argsort(owners, kind="stable")
    starts = np.searchsorted(owners[order], owners[order], "left")
    number = np.empty(len(owners), np.int64)
    number[order] = positions - starts
    counts = number < protocol.captions if protocol.captions is not None else np.ones(len(owners), bool)
    return [caption_ids[counts & np.isin(owners, fold)] for fold in folds]
