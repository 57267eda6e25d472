"""The language of a text, told by its script."""

from __future__ import annotations

import re

HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")


def language_of(text: str) -> str:
    """The language of a text: "zh" if it has a Chinese character, else "en"."""
    return "zh" if HAN.search(text) else "en"


def query_language(text: str) -> str | None:
    """The language of a query; None if it has no letter (a number is in every language)."""
    return language_of(text) if any(character.isalpha() for character in text) else None
