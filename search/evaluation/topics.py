"""What an evaluation asks: every caption of a photo, and every photo, each with its right answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from search.evaluation.protocols import Protocol, caption_folds, image_folds
from search.evaluation.sampling import sample

TEXT_TO_IMAGE, IMAGE_TO_TEXT = "text_to_image", "image_to_text"


@dataclass(frozen=True, eq=False)
class Topic:
    """One query with its right answers: `relevant` are ids of what is searched, of which `allowed` may be found.

    `image_id` is the photo that it is about. A sentence is asked by `caption`, a CaptionRecord; where that is None, the photo
    itself is. `fold` is the number of the fold that it belongs to, `allowed` is None where all may be found.
    """

    direction: str
    language: str
    image_id: int
    relevant: np.ndarray
    allowed: np.ndarray | None
    fold: int
    caption: object | None = None

    @property
    def to(self) -> str:
        """What is searched."""
        return "images" if self.direction == TEXT_TO_IMAGE else "captions"


@dataclass(frozen=True, eq=False)
class Fold:
    """Photos that are searched by themselves, int64, and the captions of each language that take part, int64."""

    number: int
    images: np.ndarray
    captions: dict[str, np.ndarray]
    everything: bool


def folds_of(snapshot, languages: Sequence[str], name: str, protocol: Protocol) -> list[Fold]:
    """What is searched by itself; raises TooFewForProtocol."""
    images = image_folds(snapshot.image_ids(), name, protocol)
    captions = {}
    for language in languages:
        ids = snapshot.caption_ids(language)
        captions[language] = caption_folds(ids, _owners(snapshot, ids), images, protocol)
    return [
        Fold(i, part, {language: captions[language][i] for language in languages}, len(part) == snapshot.image_count)
        for i, part in enumerate(images)
    ]


def text_topics(snapshot, fold: Fold, queries: int | None, seed: int) -> Iterator[Topic]:
    """Each caption, or a seeded sample of `queries` in each language, asked for its photo."""
    allowed = None if fold.everything else fold.images
    for language, ids in fold.captions.items():
        for caption in snapshot.captions(sample(ids, queries, seed)):
            relevant = np.array([caption.image_id])
            yield Topic(TEXT_TO_IMAGE, language, caption.image_id, relevant, allowed, fold.number, caption)


def image_topics(snapshot, fold: Fold, queries: int | None, seed: int) -> list[list[Topic]]:
    """Each photo with captions, or a seeded sample of them in each language, asked for those: one list a photo."""
    by_photo: dict[int, list[Topic]] = {}
    for language, ids in fold.captions.items():
        owners = _owners(snapshot, ids)
        for image_id in sample(np.unique(owners), queries, seed).tolist():
            question = Topic(IMAGE_TO_TEXT, language, image_id, ids[owners == image_id], ids, fold.number)
            by_photo.setdefault(image_id, []).append(question)
    return [by_photo[image_id] for image_id in sorted(by_photo)]


def _owners(snapshot, caption_ids: np.ndarray) -> np.ndarray:
    """The photos of captions, int64 in the order asked."""
    table = snapshot.caption_table()
    return table["image_id"].to_numpy()[np.searchsorted(snapshot.caption_ids(), caption_ids)]
