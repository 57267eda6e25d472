"""Which language a text is in, told by its script."""

from __future__ import annotations

import re

HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")


def language_of(text: str) -> str:
    """ "zh" where there is a Chinese character, "en" otherwise."""
    return "zh" if HAN.search(text) else "en"


def query_language(text: str) -> str | None:
    """`language_of` a query; None for one without a letter, such as a number, which is in every language."""
    return language_of(text) if any(character.isalpha() for character in text) else None
