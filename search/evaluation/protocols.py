"""What a benchmark lets take part: which photos are searched together, and how many captions of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from search.errors import TooFewForProtocol


@dataclass(frozen=True)
class Protocol:
    """The first `images` photos in the order of the source, in folds of `fold` that are searched one by one.

    None stands for all. `captions` is how many captions of a photo and language take part, the first in their order.
    """

    images: int | None = None
    fold: int | None = None
    captions: int | None = None


PROTOCOLS = {
    "all": Protocol(),
    "coco-5k": Protocol(images=5000, captions=5),
    "coco-1k": Protocol(images=5000, fold=1000, captions=5),
}
"""By name: everything at once, and COCO's two as Karpathy's split of 5,000 test photos is used: all of it, and the mean over
its five folds of 1,000 consecutive photos. Of the six or seven captions of some COCO photos the first five count."""


def image_folds(image_ids: np.ndarray, name: str, protocol: Protocol) -> list[np.ndarray]:
    """The photos that are searched together, int64 each; raises TooFewForProtocol.

    Args:
        image_ids: int64 [n], upwards, which is the order in which the source gave them.
        name: what the protocol is called.
    """
    needed = protocol.images or protocol.fold or 1
    if len(image_ids) < needed:
        raise TooFewForProtocol(name, needed, len(image_ids))
    image_ids = image_ids[: protocol.images]
    size = protocol.fold or len(image_ids)
    return [image_ids[start : start + size] for start in range(0, len(image_ids) - size + 1, size)]


def caption_folds(caption_ids: np.ndarray, owners: np.ndarray, folds: list[np.ndarray], protocol: Protocol) -> list[np.ndarray]:
    """The captions that take part in each fold, int64 upwards.

    Args:
        caption_ids: int64 [m], upwards, of one language.
        owners: int64 [m], their photos.
    """
    place = np.arange(len(owners))
    order = np.argsort(owners, kind="stable")
    starts = np.searchsorted(owners[order], owners[order], "left")
    number = np.empty(len(owners), np.int64)
    number[order] = place - starts
    counts = number < protocol.captions if protocol.captions is not None else np.ones(len(owners), bool)
    return [caption_ids[counts & np.isin(owners, fold)] for fold in folds]
