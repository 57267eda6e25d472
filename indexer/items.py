"""What a source gives: photos with captions, and what could not be had."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from encoder.inputs.languages import language_of


@dataclass(frozen=True)
class SourceCaption:
    """One sentence. `language` is "en" or "zh"; `origin` says where in the source it stood."""

    language: str
    text: str
    origin: str


@dataclass(frozen=True)
class SourceItem:
    """One photo: `uri` is its absolute path, `metadata` what the source says beside captions (JSON values).

    `member` is its name in the tar file at `uri`, where it lies in one.
    """

    uri: Path
    captions: list[SourceCaption] = field(default_factory=list)
    metadata: dict = field(default_factory=dict)
    member: str | None = None


@dataclass(frozen=True)
class Failure:
    """A file that could not be used: its path, a reason code and a sentence for people."""

    uri: str
    reason: str
    sentence: str


def printable(path: object) -> str:
    """A path as text that can be stored and printed in a line; bytes that aren't UTF-8, as old archives leave them, and
    control characters are escaped."""
    return one_line(os.fsencode(path).decode("utf-8", "backslashreplace"))


def is_utf8(path: object) -> bool:
    """Whether a path can be stored as it is."""
    return not any("\ud800" <= character <= "\udfff" for character in str(path))


def one_line(text: str) -> str:
    """Text without line breaks and other control characters, which a file's name may hold: they are escaped."""
    return "".join(c if c.isprintable() or c == " " else c.encode("unicode_escape").decode() for c in text)


def strict_json(text: str | bytes) -> object:
    """The value, which can be written as JSON again: Python reads NaN and infinities too. Raises ValueError or
    RecursionError."""
    return json.loads(text, parse_constant=_finite, parse_float=_finite)


def check_text(value: object) -> None:
    """Raises ValueError where a JSON value holds halves of surrogate pairs, which can't be stored."""
    json.dumps(value, ensure_ascii=False).encode("utf-8")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no finite number")
    return number


def captions_from(texts: Iterable[str], origin: str, language: str | None = None) -> list[SourceCaption]:
    """The texts that aren't blank, trimmed; language told by script where it isn't given."""
    trimmed = (text.strip() for text in texts)
    return [SourceCaption(language or language_of(text), text, origin) for text in trimmed if text]


def merged(items: Iterable[SourceItem]) -> list[SourceItem]:
    """One item a photo. Of a photo that is named again, only captions and metadata keys that are new are added."""
    by_place: dict[tuple, SourceItem] = {}
    for item in items:
        place = (item.uri, item.member)
        first = by_place.get(place)
        known = {(caption.language, caption.text) for caption in first.captions} if first else set()
        new = [caption for caption in item.captions if (caption.language, caption.text) not in known]
        by_place[place] = (
            item
            if first is None
            else replace(first, captions=first.captions + new, metadata={**item.metadata, **first.metadata})
        )
    return list(by_place.values())


def description_of(captions: Iterable, metadata: dict) -> str:
    """A hash of all that is said of a photo; captions may come in any order."""
    said = sorted((caption.language, caption.text, caption.origin) for caption in captions)
    content = json.dumps([said, metadata], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()
