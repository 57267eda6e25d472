"""Which things captions name, and which of them nobody saw in the photo: by the words of `things.txt`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np

from search.evaluation.captioning.tokens import Tokens

Meanings = frozenset[int]
"""The things that a word may mean, of which one is meant; none for a word that only looks like a thing."""

_FILE = Path(__file__).with_name("things.txt")
_COLUMNS = {"en": 0, "zh": 1}
_NO_THING = "!"


def things_named(tokens: Tokens, language: str) -> list[Meanings]:
    """What each word for a thing may mean, in their order. The longest name counts: a hot dog is no dog.

    Args:
        tokens: words, of `tokens.english_words` or `tokens.chinese_words`.
        language: "en" or "zh".
    """
    names = _names(language)
    if language == "en":
        return _named(tokens, names)
    return [meanings for word in tokens for meanings in _named(list(word), names)]


def hallucinations(
    written: Sequence[Tokens], references: Sequence[Sequence[Tokens]], language: str
) -> tuple[np.ndarray, np.ndarray]:
    """Find the captions that name a thing of other photos which no reference of their own photo names.

    A word that may mean several things is no hallucination if the references name one of them, and a thing that no reference
    of any photo names counts neither way.

    Args:
        written: words of the caption of each photo.
        references: words of the captions that people wrote of it.
        language: "en" or "zh".

    Returns:
        bool [photos] twice: the caption names a thing at all; it names one that isn't there.
    """
    seen = [{thing for text in texts for named in things_named(text, language) for thing in named} for texts in references]
    known = set().union(*seen)
    named = [[one & known for one in things_named(tokens, language) if one & known] for tokens in written]
    wrong = [any(not one & own for one in things) for things, own in zip(named, seen, strict=True)]
    return np.array([bool(things) for things in named], bool), np.array(wrong, bool)


def _named(parts: Tokens, names: Mapping[tuple[str, ...], Meanings]) -> list[Meanings]:
    """The meanings of the names in a list of words or characters, read from the left, the longest first."""
    longest = max(map(len, names))
    found, at = [], 0
    while at < len(parts):
        lengths = range(min(longest, len(parts) - at), 0, -1)
        length = next((n for n in lengths if tuple(parts[at : at + n]) in names), 0)
        if length and names[tuple(parts[at : at + length])]:
            found.append(names[tuple(parts[at : at + length])])
        at += length or 1
    return found


@cache
def _names(language: str) -> dict[tuple[str, ...], Meanings]:
    """What each name may mean. A name is words in English, which may be plural, and characters in Chinese."""
    meanings: dict[tuple[str, ...], set[int]] = {}
    lines = [line for line in _FILE.read_text("utf-8").splitlines() if line and not line.startswith("#")]
    for number, line in enumerate(lines):
        words = line.removeprefix(_NO_THING).split("|")[_COLUMNS[language]].split()
        for word in words:
            forms = _forms(word) if language == "en" else [tuple(word.lower())]
            for form in forms:
                meanings.setdefault(form, set()).update([] if line.startswith(_NO_THING) else [number])
    return {name: frozenset(things) for name, things in meanings.items()}


def _forms(word: str) -> list[tuple[str, ...]]:
    """A name, and its regular plural."""
    *first, last = word.split("_")
    if last.endswith(("s", "x", "z", "ch", "sh")):
        plural = f"{last}es"
    elif last.endswith("y") and last[-2:-1] not in "aeiou":
        plural = f"{last[:-1]}ies"
    else:
        plural = f"{last}s"
    return [(*first, last), (*first, plural)]
