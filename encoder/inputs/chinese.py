"""Traditional characters, and the simplified ones that stand for the same."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opencc import OpenCC

HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")


def simplified(text: str) -> str:
    """Write a text in simplified characters, by OpenCC's tables of characters and phrases. Simplified ones stay as they are.

    Each character becomes one character, so that positions stay. Words stay too: what is called otherwise in Taiwan is not
    translated.
    """
    if not HAN.search(text):
        return text
    written = _converter().convert(text)
    return written if len(written) == len(text) else "".join(map(_one_simplified, text))


def _one_simplified(character: str) -> str:
    written = _converter().convert(character)
    return written if len(written) == 1 else character


@cache
def _converter() -> OpenCC:
    from opencc import OpenCC

    return OpenCC("tw2s")
