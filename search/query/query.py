"""A query to a collection, with all its options."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from search.errors import BadQuery, EmptyQuery
from search.query.terms import Term, parse_terms, positive_words
from storage.filtering.grammar import parse_filter

Target = Literal["images", "captions"]
TARGETS: tuple[Target, ...] = ("images", "captions")
MODES = ("vector", "lexical", "hybrid")
LONGEST_TEXT = 2000
DEEPEST_FOLDED = 10_000
"""Collapsing compares each hit with all before it: deeper, one request could keep a machine busy for minutes."""
LARGEST_ID = 2**63 - 1


@dataclass(frozen=True, eq=False)
class Query:
    """A query: a sentence, a photo, a photo of the collection, or several of them added up. Checked when it is made.

    Attributes:
        terms: what the query was parsed into: the terms of the text, then the photos that the text does not name, each with
            weight 1.

    Args:
        text: a sentence in either language, or terms with signs (see `search.query.terms`).
        image: a prepared photo, such as uint8 [S, S, 3] (see `search.query.query_photo.read_photo`).
        image_id: a photo of the collection, which is then not found itself.
        to: what to find, "images" or "captions".
        top: the largest number of hits.
        rerank: how many of the first stage's best to re-rank with the cross-modal encoder; 0 for none.
        budget_ms: re-rank only as many of these as possible in so many milliseconds since the query began; None for all.
            Their number decides on the order, so the next page needs the cursor, which knows it.
        offset: how many hits to skip, for paging.
        mode: "vector" finds by meaning, "lexical" by the words of the captions, "hybrid" by the ranks of both. For a query
            without words "hybrid" is "vector".
        cursor: where the previous page ended, instead of an offset (see `search.query.cursor`).
        fold: the cosine from which on two photos, or captions, count as one and are shown once. Equal files and equal texts
            always count as one. None shows all.
        where: a filter on what may be found (see `storage.filtering.grammar`); None for none.
        label: what to call `image` in the result.

    Raises:
        EmptyQuery: text, image and image_id are all missing, or the text is blank.
        BadTerm: the signs in the text can't be parsed.
        BadFilter: the filter can't be parsed.
        BadQuery: a number, the mode or the target is out of range.
    """

    text: str | None = None
    image: np.ndarray | None = None
    image_id: int | None = None
    to: str = "images"
    top: int = 10
    rerank: int = 32
    budget_ms: int | None = None
    offset: int = 0
    mode: str = "vector"
    cursor: str | None = None
    fold: float | None = None
    where: str | None = None
    label: str | None = None
    terms: tuple[Term, ...] = field(init=False)

    def __post_init__(self) -> None:
        if all(part is None for part in (self.text, self.image, self.image_id)):
            raise EmptyQuery("Nothing to search for: give a sentence, a photo, or the id of a photo.")
        self._check_choices()
        self._check_paging()
        if self.image_id is not None and not 0 <= self.image_id <= LARGEST_ID:
            raise BadQuery(f"{self.image_id} can't be the id of a photo.")
        if self.text is not None:
            object.__setattr__(self, "text", clean(self.text))
        if self.image is not None:
            _check_photo(self.image)
        if self.where is not None:
            parse_filter(self.where)
        object.__setattr__(self, "terms", tuple(self._parse()))
        if self.mode == "lexical" and not positive_words(self.terms):
            raise BadQuery("There are no words to look for: add some, or search by vector.")

    def _check_choices(self) -> None:
        if self.to not in TARGETS:
            raise BadQuery(f"Can't search to {self.to!r}: choose {' or '.join(TARGETS)}.")
        if self.mode not in MODES:
            raise BadQuery(f"Can't search by {self.mode!r}: choose {', '.join(MODES)}.")
        for name, least in (("top", 1), ("rerank", 0), ("offset", 0)):
            if getattr(self, name) < least:
                raise BadQuery(f"{name} is {getattr(self, name)}: it must be at least {least}.")
        if self.budget_ms is not None and self.budget_ms < 0:
            raise BadQuery(f"budget_ms is {self.budget_ms}: it must be at least 0.")

    def _check_paging(self) -> None:
        if self.budget_ms is not None and self.offset:
            raise BadQuery(
                "With a budget, each query decides anew how much is re-ranked, and pages by offset would not fit "
                "together: go on with the cursor of the page before."
            )
        if self.offset and self.cursor is not None:
            raise BadQuery("Give an offset or a cursor, not both.")
        if self.fold is not None and not 0 < self.fold <= 1:
            raise BadQuery(f"The cosine of duplicates is {self.fold:g}: it must lie above 0 and be at most 1.")
        if self.fold is not None and self.offset + self.top > DEEPEST_FOLDED:
            raise BadQuery(
                f"Near-duplicates are folded in the first {DEEPEST_FOLDED} hits only: go on without folding, or "
                "narrow the list by a filter."
            )

    @property
    def target(self) -> Target:
        """What to find: `to`, which was checked."""
        return "images" if self.to == "images" else "captions"

    @property
    def left_out(self) -> list[int]:
        """Ids that the query looks for more of, and that are therefore not found themselves."""
        kind = "image" if self.to == "images" else "caption"
        return sorted({term.id for term in self.terms if term.kind == kind and term.weight > 0})

    def _parse(self) -> list[Term]:
        photo = self.image is not None
        alone = not photo and self.image_id is None
        terms = [] if self.text is None else parse_terms(self.text, photo, alone)
        if photo and not any(term.kind == "photo" for term in terms):
            terms.append(Term("photo"))
        if self.image_id is not None and not any((term.kind, term.value) == ("image", self.image_id) for term in terms):
            terms.append(Term("image", self.image_id))
        if all(term.weight < 0 for term in terms):
            raise BadQuery("There is only what to avoid in the query: add what to look for.")
        return terms

    def as_text(self) -> str | None:
        """The text, or the label of the photo."""
        return self.label if self.text is None else self.text


def clean(text: str) -> str:
    """Trim a text, and check that it can be searched for.

    Raises:
        EmptyQuery: it is blank.
        BadQuery: it is too long, or not valid Unicode.
    """
    text = text.strip()
    if not text:
        raise EmptyQuery("Nothing to search for: the sentence is empty.")
    if len(text) > LONGEST_TEXT:
        raise BadQuery(f"The sentence is {len(text)} characters long: {LONGEST_TEXT} is the most.")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise BadQuery("The sentence is not valid Unicode: send it as UTF-8.")
    return text


def _check_photo(image: np.ndarray) -> None:
    """Check that pixels are a square of bytes. What else a model reads was made by its own `inputs`, and is not checked."""
    shape = image.shape
    if len(shape) == 3 and (image.dtype != np.uint8 or shape[0] != shape[1] or shape[2] != 3):
        raise BadQuery(f"A photo must be uint8 [S, S, 3], not {image.dtype} {list(shape)}.")
