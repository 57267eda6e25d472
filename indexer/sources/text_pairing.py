"""Which text belongs to which photo, by their names: one rule for folders and tar files."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

TEXTS = frozenset({".txt", ".text", ".caption", ".captions"})
LANGUAGE = re.compile(r"\.([a-z]{2})(?:[-_][a-z]{2,4})?", re.IGNORECASE)
CODES = (
    "aa ab ae af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv dz ee el en eo es "
    "et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii ik io is it iu ja jv ka kg ki kj "
    "kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv mg mh mi mk ml mn mr ms mt my na nb nd ne ng nl nn no nr nv "
    "ny oc oj om or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se sg si sk sl sm sn so sq sr ss st su sv sw ta te tg th ti "
    "tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu"
)
LANGUAGES = frozenset(CODES.split())
"""The two-letter codes of ISO 639-1, which may stand before a text's ending: `1.zh.txt`."""


class PairedText(NamedTuple):
    """A text of a photo: its name, and the language that the name gives, if any."""

    name: str
    language: str | None = None


class Pairing(NamedTuple):
    """The result of `pair`.

    Attributes:
        of_photo: the texts of each photo that has any, in the order in which they were given.
        ambiguous: texts that may belong to several photos, with these; they are nobody's.
        unmatched: texts that belong to no photo.
    """

    of_photo: dict[str, list[PairedText]]
    ambiguous: dict[str, list[str]]
    unmatched: list[str]


def pair(photos: Iterable[str], texts: Sequence[str], by_key: bool = False) -> Pairing:
    """Find the photos of texts.

    A text belongs to the photo whose name, or whose name without its last ending, is the text's name without its own; a
    language may stand between them (`1.txt`, `1.jpg.txt` and `1.zh.txt` belong to `1.jpg`). Where there is none, letter case
    and the Unicode form of names don't count.

    Args:
        photos: the photos' names.
        texts: the texts' names, in the order in which a photo's captions shall come.
        by_key: a text that finds no photo so belongs to the one that has WebDataset's key in common with it: all before the
            first dot of the base name.
    """
    names = _Names(photos, texts, by_key)
    pairing = Pairing({}, {}, [])
    for text in texts:
        found, language = names.find(text)
        if not found and by_key:
            found = names.with_key(text)
        if not found:
            pairing.unmatched.append(text)
        elif _is_one_name(found):
            for photo in found:
                pairing.of_photo.setdefault(photo, []).append(PairedText(text, language))
        else:
            pairing.ambiguous[text] = found
    return pairing


def key_of(name: str) -> str:
    """WebDataset's key of a file: its folder, and its base name up to the first dot."""
    folder, _, last = name.rpartition("/")
    return f"{folder}/{last.partition('.')[0]}"


def names_of_photo(name: str) -> list[str]:
    """What a text of this name may call its photo, in the form of `folded`: the name without one ending after the other.

    Of a photo, the first two are what it may be called.
    """
    folder, base = os.path.split(folded(name))
    parts = base.split(".")
    return [os.path.join(folder, ".".join(parts[:count])) for count in range(len(parts), 0, -1)]


def folded(name: str) -> str:
    """The name without what systems change when they copy files: letter case and Unicode form."""
    return unicodedata.normalize("NFC", name).casefold()


class _Names:
    """The photos of a folder or tar file by each name that a text may call them; only photos that some text may mean."""

    def __init__(self, photos: Iterable[str], texts: Sequence[str], by_key: bool):
        self._exact: dict[str, list[str]] = defaultdict(list)
        self._folded: dict[str, list[str]] = defaultdict(list)
        self._keys: dict[str, list[str]] = defaultdict(list)
        meant = {folded(name) for text in texts for name, _ in _names_meant(text)}
        keys = {key_of(text) for text in texts} if by_key else set()
        for photo in photos if meant else ():
            for name in (photo, _stem(photo)):
                if (fold := folded(name)) in meant:
                    self._exact[name].append(photo)
                    self._folded[fold].append(photo)
            if (key := key_of(photo)) in keys:
                self._keys[key].append(photo)

    def find(self, text: str) -> tuple[list[str], str | None]:
        """The photos that a text's name means, and the language in it."""
        for fold, index in ((str, self._exact), (folded, self._folded)):
            for name, language in _names_meant(text):
                if found := _best(index, fold(name)):
                    return found, language
        return [], None

    def with_key(self, text: str) -> list[str]:
        return self._keys.get(key_of(text), [])


def _best(index: Mapping[str, list[str]], name: str) -> list[str]:
    """The photos of a name: the one that has all of it, or else those that have it as their stem."""
    found = index.get(name, [])
    whole = [photo for photo in found if photo == name]
    return whole or found


def _names_meant(text: str) -> Iterator[tuple[str, str | None]]:
    stem = _stem(text)
    yield stem, None
    shorter, ending = os.path.splitext(stem)
    match = LANGUAGE.fullmatch(ending)
    if match and match[1].lower() in LANGUAGES:
        yield shorter, match[1].lower()


def _is_one_name(photos: list[str]) -> bool:
    """True for one photo, or one photo in several formats."""
    return len({_stem(photo) for photo in photos}) == 1


def _stem(name: str) -> str:
    return os.path.splitext(name)[0]
