"""What can be asked of a collection."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .errors import BadQuery, EmptyQuery

TARGETS = ("images", "captions")
LONGEST_TEXT = 2000
LARGEST_ID = 2**63 - 1


@dataclass(frozen=True, eq=False)
class Query:
    """One question: a sentence, a photo, or a photo of the collection. Checked when made.

    Args:
        text: a sentence in either language.
        image: a prepared photo, such as uint8 [S, S, 3] (see `search.photos.read_photo`).
        image_id: a photo of the collection, which is then left out of what is found.
        to: "images" or "captions".
        top: how many hits to give at most.
        rerank: how many of the first stage's best the cross-modal encoder reads; 0 for none.
        offset: how many hits to pass over, for paging.
        label: what to call an `image` in the result.

    Raises:
        EmptyQuery: none of text, image and image_id is there, or the text is blank.
        BadQuery: more than one is, or a number or the target is out of range.
    """

    text: str | None = None
    image: np.ndarray | None = None
    image_id: int | None = None
    to: str = "images"
    top: int = 10
    rerank: int = 32
    offset: int = 0
    label: str | None = None

    def __post_init__(self) -> None:
        given = [part for part in (self.text, self.image, self.image_id) if part is not None]
        if not given:
            raise EmptyQuery("Nothing to search for: give a sentence, a photo, or the id of a photo.")
        if len(given) > 1:
            raise BadQuery("Give one of a sentence, a photo and the id of a photo, not several at once.")
        if self.to not in TARGETS:
            raise BadQuery(f"Can't search to {self.to!r}: choose {' or '.join(TARGETS)}.")
        for name, least in (("top", 1), ("rerank", 0), ("offset", 0)):
            if getattr(self, name) < least:
                raise BadQuery(f"{name} is {getattr(self, name)}: it must be at least {least}.")
        if self.image_id is not None and not 0 <= self.image_id <= LARGEST_ID:
            raise BadQuery(f"{self.image_id} can't be the id of a photo.")
        if self.text is not None:
            object.__setattr__(self, "text", clean(self.text))
        if self.image is not None:
            _check_photo(self.image)

    def as_text(self) -> str | None:
        """The sentence, or what the photo is called."""
        return self.label if self.text is None else self.text


def clean(text: str) -> str:
    """A sentence that can be searched for, trimmed; raises EmptyQuery or BadQuery."""
    text = text.strip()
    if not text:
        raise EmptyQuery("Nothing to search for: the sentence is empty.")
    if len(text) > LONGEST_TEXT:
        raise BadQuery(f"The sentence is {len(text)} characters long: {LONGEST_TEXT} is the most.")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise BadQuery("The sentence is not valid Unicode: send it as UTF-8.")
    return text


def _check_photo(image: np.ndarray) -> None:
    """Pixels are square and in bytes; what else a model reads, its own `inputs` have made."""
    shape = image.shape
    if len(shape) == 3 and (image.dtype != np.uint8 or shape[0] != shape[1] or shape[2] != 3):
        raise BadQuery(f"A photo must be uint8 [S, S, 3], not {image.dtype} {list(shape)}.")
