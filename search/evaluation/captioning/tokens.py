"""Captions as lists of tokens, in the ways in which captioning is measured; punctuation is no token."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from encoder.inputs.chinese import HAN, simplified

if TYPE_CHECKING:
    from jieba import Tokenizer

Tokens = list[str]

_PENN = re.compile(
    r"""
    \w+(?=n't\b) | n't\b                     # isn't: is n't
    | '(?:s|re|ve|ll|d|m)\b                  # man's: man 's
    | o'clock\b
    | \b(?:[a-z]\.){2,}                      # u.s.
    | \b(?:mr|mrs|ms|dr|st|jr|vs|etc|ave|rd|ft|corp)\.
    | \d+(?:[.,:]\d+)+                       # 10:30
    | \w+(?:[-/]\w+)*                        # t-shirt, black-and-white, his/her
    | [^\w\s]
    """,
    re.VERBOSE,
)
_TWO_WORDS = re.compile(r"\b(?:(can)(not)|(gon|wan)(na)|(got)(ta)|(lem|gim)(me))\b")
_BRACKETS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}
_PUNCTUATION = frozenset(".?!,:;-'`\"“”‘…–—")
_QUOTES = str.maketrans("’‘", "''")
_LATIN_OR_HAN = re.compile(rf"{HAN.pattern}|[^\W_]+?(?={HAN.pattern}|[\W_]|$)")


def english_words(text: str) -> Tokens:
    """The tokens of the Penn Treebank in lower case, without punctuation, as coco-caption has them.

    Brackets stay as `-lrb-` and so on, because coco-caption, too, only drops them in capitals.
    """
    text = text.translate(_QUOTES).replace("&amp;", "&").lower()
    text = _TWO_WORDS.sub(lambda found: " ".join(filter(None, found.groups())), text)
    tokens: Tokens = _PENN.findall(text)
    return [_BRACKETS.get(token, token) for token in tokens if token not in _PUNCTUATION]


def chinese_characters(text: str) -> Tokens:
    """The characters, simplified; a run of other letters or digits, such as T or 42, is one token."""
    return _LATIN_OR_HAN.findall(_plain(text))


def chinese_words(text: str) -> Tokens:
    """The words as jieba cuts them, in simplified characters."""
    return [word for word in _jieba().lcut(_plain(text)) if any(character.isalnum() for character in word)]


TOKENIZERS: dict[str, dict[str, Callable[[str], Tokens]]] = {
    "en": {"words": english_words},
    "zh": {"characters": chinese_characters, "words": chinese_words},
}
"""By language and unit; the first unit of a language is the one that its captions are counted by."""


def _plain(text: str) -> str:
    return simplified(unicodedata.normalize("NFKC", text)).lower()


@cache
def _jieba() -> Tokenizer:
    """jieba with its own dictionary, which is read anew: its cache would be a file in /tmp that anybody may have put there."""
    from jieba import Tokenizer

    tokenizer = Tokenizer()
    tokenizer.FREQ, tokenizer.total = tokenizer.gen_pfdict(tokenizer.get_dict_file())
    tokenizer.initialized = True
    return tokenizer
