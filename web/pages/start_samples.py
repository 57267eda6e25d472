"""A first look at a collection: a few of its photos, and sentences worth trying."""

from __future__ import annotations

from dataclasses import dataclass

from web.pages.formatting import evenly
from web.photo_urls import photo_urls

MOST_PHOTOS = 18
MOST_EXAMPLES = 3
LONGEST = {"zh": 18}
LONGEST_OTHERWISE = 52
ANY_COLLECTION = {
    "en": ["a dog running through grass", "people at the beach", "a red car in a street"],
    "zh": ["在草地上奔跑的狗", "海边的人们", "街上的红色汽车"],
}


@dataclass(frozen=True)
class Example:
    """A sentence to try, and its language."""

    text: str
    language: str


def gallery(snapshot) -> list[dict]:
    """Photos from all over the collection, with their addresses and sizes in pixels."""
    chosen = evenly(sorted(snapshot.image_ids().tolist()), MOST_PHOTOS)
    return [
        {"id": photo.image_id, "width": photo.width, "height": photo.height} | photo_urls(photo.image_id)
        for photo in snapshot.images(chosen)
    ]


def examples(snapshot, first_language: str) -> list[Example]:
    """Sentences in each language: short captions of the collection's, or where it has none such that any may answer."""
    found = []
    for language in sorted(ANY_COLLECTION, key=lambda code: code != first_language):
        texts = _short_captions(snapshot, language) or ANY_COLLECTION[language]
        found += [Example(text, language) for text in texts[:MOST_EXAMPLES]]
    return found


def _short_captions(snapshot, language: str) -> list[str]:
    ids = evenly(sorted(snapshot.caption_ids(language).tolist()), 60)
    texts = (caption.text.strip().rstrip(" .。") for caption in snapshot.captions(ids))
    short = [text for text in texts if 4 <= len(text) <= LONGEST.get(language, LONGEST_OTHERWISE)]
    return evenly(list(dict.fromkeys(short)), MOST_EXAMPLES)
