"""Samples for the start page: a few photos of the collection, and sentences to try."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from web.pages.formatting import evenly
from web.photo_urls import photo_urls

if TYPE_CHECKING:
    from storage.snapshot import Snapshot

MOST_PHOTOS = 18
MOST_EXAMPLES = 3
LONGEST = {"zh": 18}
LONGEST_IN_OTHERS = 52
GENERAL_SENTENCES = {
    "en": ["a dog running through grass", "people at the beach", "a red car in a street"],
    "zh": ["在草地上奔跑的狗", "海边的人们", "街上的红色汽车"],
}


@dataclass(frozen=True)
class Example:
    """A sentence to try, and its language."""

    text: str
    language: str


def gallery(snapshot: Snapshot) -> list[dict]:
    """Photos from all over the collection, with their addresses, and their sizes in pixels."""
    sampled = evenly(sorted(snapshot.image_ids().tolist()), MOST_PHOTOS)
    return [
        {"id": photo.image_id, "width": photo.width, "height": photo.height} | photo_urls(photo.image_id)
        for photo in snapshot.images(sampled)
    ]


def examples(snapshot: Snapshot, first_language: str) -> list[Example]:
    """Sentences in each language: short captions of the collection, or general ones if it has none."""
    found: list[Example] = []
    for language in sorted(GENERAL_SENTENCES, key=lambda code: code != first_language):
        texts = _short_captions(snapshot, language) or GENERAL_SENTENCES[language]
        found += [Example(text, language) for text in texts[:MOST_EXAMPLES]]
    return found


def _short_captions(snapshot: Snapshot, language: str) -> list[str]:
    ids = evenly(sorted(snapshot.caption_ids(language, generated=False).tolist()), 60)
    texts = (caption.text.strip().rstrip(" .。") for caption in snapshot.captions(ids))
    short = [text for text in texts if 4 <= len(text) <= LONGEST.get(language, LONGEST_IN_OTHERS)]
    return evenly(list(dict.fromkeys(short)), MOST_EXAMPLES)
