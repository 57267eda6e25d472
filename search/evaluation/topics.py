"""The topics of an evaluation: every caption, and every photo, each with its relevant items."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from search.evaluation.protocols import Protocol, caption_folds, image_folds
from search.evaluation.sampling import sample
from search.query.query import Target
from storage import CaptionRecord
from storage.snapshot import Snapshot

TEXT_TO_IMAGE, IMAGE_TO_TEXT = "text_to_image", "image_to_text"


@dataclass(frozen=True, eq=False)
class Topic:
    """One query with its relevant items.

    Attributes:
        direction: TEXT_TO_IMAGE or IMAGE_TO_TEXT.
        language: of the captions.
        image_id: the photo that it is about.
        relevant: int64 [r], ids of what is searched.
        allowed: int64 [a], the only ids that may be found; None for all.
        fold: the number of its fold.
        caption: the query; None if the photo itself is the query.
    """

    direction: str
    language: str
    image_id: int
    relevant: np.ndarray
    allowed: np.ndarray | None
    fold: int
    caption: CaptionRecord | None = None

    @property
    def to(self) -> Target:
        """What is searched."""
        return "images" if self.direction == TEXT_TO_IMAGE else "captions"

    @property
    def sentence(self) -> str:
        """The text of the caption; of a text-to-image topic only."""
        assert self.caption is not None
        return self.caption.text


@dataclass(frozen=True, eq=False)
class Fold:
    """Photos that are searched by themselves.

    Attributes:
        number: counted from 0.
        images: int64, ids of the photos.
        captions: int64, ids of the captions that take part, by language; a model wrote none of them.
        everything: True if these are all photos of the snapshot.
    """

    number: int
    images: np.ndarray
    captions: dict[str, np.ndarray]
    everything: bool


def folds_of(snapshot: Snapshot, languages: Sequence[str], name: str, protocol: Protocol) -> list[Fold]:
    """Split a snapshot into the folds of a protocol.

    Raises:
        TooFewForProtocol: the protocol needs more photos.
    """
    images = image_folds(snapshot.image_ids(), name, protocol)
    captions = {}
    for language in languages:
        ids = snapshot.caption_ids(language, generated=False)
        captions[language] = caption_folds(ids, _owners(snapshot, ids), images, protocol)
    return [
        Fold(i, part, {language: captions[language][i] for language in languages}, len(part) == snapshot.image_count)
        for i, part in enumerate(images)
    ]


def text_topics(snapshot: Snapshot, fold: Fold, queries: int | None, seed: int) -> Iterator[Topic]:
    """A topic for each caption, or for a seeded sample of `queries` of them in each language."""
    allowed = None if fold.everything else fold.images
    for language, ids in fold.captions.items():
        for caption in snapshot.captions(sample(ids, queries, seed)):
            relevant = np.array([caption.image_id])
            yield Topic(TEXT_TO_IMAGE, language, caption.image_id, relevant, allowed, fold.number, caption)


def image_topics(snapshot: Snapshot, fold: Fold, queries: int | None, seed: int) -> list[list[Topic]]:
    """Topics for each photo with captions, or for a seeded sample of `queries` photos in each language.

    Returns:
        A list for each photo, with a topic for each language.
    """
    by_photo: dict[int, list[Topic]] = {}
    for language, ids in fold.captions.items():
        owners = _owners(snapshot, ids)
        for image_id in sample(np.unique(owners), queries, seed).tolist():
            topic = Topic(IMAGE_TO_TEXT, language, image_id, ids[owners == image_id], ids, fold.number)
            by_photo.setdefault(image_id, []).append(topic)
    return [by_photo[image_id] for image_id in sorted(by_photo)]


def _owners(snapshot: Snapshot, caption_ids: np.ndarray) -> np.ndarray:
    """The photos of these captions, int64 in the same order."""
    table = snapshot.caption_table()
    return table["image_id"].to_numpy()[np.searchsorted(snapshot.caption_ids(), caption_ids)]
