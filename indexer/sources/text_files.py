"""The captions in a text file: one a line."""

from __future__ import annotations

import codecs
import unicodedata

from indexer.items import SourceCaption, captions_from

ORIGIN = "text file"
MAX_TEXT_BYTES = 4_000_000
NULS_OF_LATIN_UTF16 = 0.25
"""Latin letters in UTF-16 are half NULs; text in UTF-8 has next to none."""


def text_captions(content: bytes, language: str | None = None) -> list[SourceCaption]:
    """The captions of a text file's content.

    Args:
        content: the bytes of the file.
        language: the captions' language; None detects it by script.

    Raises:
        ValueError: it is no text, or too large to be captions.
    """
    if len(content) > MAX_TEXT_BYTES:
        raise ValueError(f"it has {len(content)} bytes")
    return captions_from(decoded_text(content).splitlines(), ORIGIN, language)


def decoded_text(content: bytes) -> str:
    """Decode UTF-8, or UTF-16 as Windows editors write it, with a byte order mark or without.

    Raises:
        UnicodeDecodeError: it is neither.
    """
    return content.decode(encoding_of(content))


def encoding_of(content: bytes) -> str:
    """The encoding of a text, as far as its bytes show it: a form of UTF-16 or UTF-32, or else UTF-8."""
    if content.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    nuls = content.count(0)
    if nuls and not len(content) % 2 and (nuls >= NULS_OF_LATIN_UTF16 * len(content) or not _is_utf8(content)):
        guesses = {encoding: _likeness(content, encoding) for encoding in ("utf-16-le", "utf-16-be")}
        best = max(guesses, key=lambda encoding: guesses[encoding])
        if guesses[best] > 0:
            return best
    return "utf-8-sig"


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _likeness(content: bytes, encoding: str) -> float:
    """How much the content looks like text in an encoding: the share of common characters, 0 if there is an impossible one."""
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        return 0
    if any(unicodedata.category(c) in ("Cc", "Cn", "Co", "Cs") and c not in "\t\r\n" for c in text):
        return 0
    return sum(c < "\u0250" or "\u3000" <= c <= "\u9fff" for c in text) / len(text)
