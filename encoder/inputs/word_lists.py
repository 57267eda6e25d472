"""Which language a word belongs to, by the lists of words and their counts that pyspellchecker brings along."""

from __future__ import annotations

import gzip
import math
import re
from bisect import bisect_left
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path

COUNTED = {"en": 1647e6, "de": 124e6, "es": 689e6, "fr": 354e6, "it": 445e6, "nl": 382e6, "pt": 388e6}
"""How many words each list counted, English first."""
OTHERS = tuple(COUNTED)[1:]
RAREST = -7.5
"""The decadic logarithm of the frequency that a word counts with where a list doesn't have it."""
LISTED, ACCENTED = -7.3, -6.0
"""What a word in a list counts with at least, and an English one with accents: `café` is in the list, but was not counted."""
SHORTEST_PLURAL = 6
_BRITISH = [("our", "or"), ("is(e|ing)", r"iz\1"), ("yse", "yze"), ("re$", "er"), ("[oa]e", "e"), ("que", "k"), ("ogue", "og"),
            ("yj", "aj"), ("nium", "num"), ("lle", "le"), ("grey", "gray")]  # fmt: skip
"""British spellings, and the American ones that the English list has."""


def frequencies(word: str) -> dict[str, float]:
    """The decadic logarithm of a word's frequency in every language, at least RAREST. The word is in lower case."""
    return {language: frequency(word, language) for language in COUNTED}


@lru_cache(1 << 16)
def frequency(word: str, language: str) -> float:
    """The decadic logarithm of a word's frequency in one language, at least RAREST. The word is in lower case."""
    spellings = [word, *_american(word)] if language == "en" else [word]
    count = max(_count(one, language) for one in spellings)
    if not count:
        return RAREST
    return max(math.log10(count / COUNTED[language]), ACCENTED if language == "en" and not word.isascii() else LISTED)


def _american(word: str) -> list[str]:
    """American spellings of a word that may be British, and the singular of a longer one that may be a plural."""
    found = [re.sub(british, american, word) for british, american in _BRITISH if re.search(british, word)]
    return [*found, word[:-1]] if word.endswith("s") and len(word) >= SHORTEST_PLURAL else found


def _count(word: str, language: str) -> int:
    """How often the list has a word; 0 if it has not. Its words are sorted, so that it need not be taken apart."""
    lines, wanted = _lines(language), word.encode("utf-8", "replace")
    found = bisect_left(range(len(lines)), wanted, key=lambda position: _entry(lines, position)[0])
    listed, count = _entry(lines, found)
    return count if listed == wanted else 0


def _entry(lines: bytes, position: int) -> tuple[bytes, int]:
    """The word and its count in the line that has the position."""
    end = lines.find(b"\n", position)
    line = lines[lines.rfind(b"\n", 0, position) + 1 : None if end < 0 else end]
    word, _, count = line.rpartition(b": ")
    return word[1:-1], int(count.rstrip(b","))


@cache
def _lines(language: str) -> bytes:
    """A list's lines, such as b'"perro": 176543,', sorted upwards."""
    package = find_spec("spellchecker")
    assert package is not None and package.origin is not None  # requirements.txt has it
    content = gzip.decompress((Path(package.origin).parent / "resources" / f"{language}.json.gz").read_bytes())
    return content.strip(b"{}\n \t")
