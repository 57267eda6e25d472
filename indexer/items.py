"""What a source yields: photos with captions, and failures."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from encoder.inputs.languages import language_of
from storage.origins import is_generated

if TYPE_CHECKING:
    from storage.segments.schemas import CaptionRecord


@dataclass(frozen=True)
class SourceCaption:
    """One sentence about a photo.

    Attributes:
        language: a code such as "en" or "zh".
        text: the sentence, trimmed.
        origin: where in the source it was found, such as a file's name.
        log_probability: of a caption that a model wrote; None of any other.
    """

    language: str
    text: str
    origin: str
    log_probability: float | None = None


@dataclass(frozen=True)
class SourceItem:
    """One photo of a source.

    Attributes:
        uri: the absolute path of the photo, or of the tar file that holds it.
        captions: its captions, in the order of the source.
        metadata: what else the source says of it, as JSON values.
        member: the photo's name in the tar file; None for a file of its own.
    """

    uri: Path
    captions: list[SourceCaption] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)
    member: str | None = None


@dataclass(frozen=True)
class Failure:
    """A file that could not be used.

    Attributes:
        uri: the file's path or uri.
        reason: a code such as "missing" or "not_an_image".
        sentence: what is wrong, in one line for people.
    """

    uri: str
    reason: str
    sentence: str


EMBEDDED_ORIGIN = "photo metadata"
"""The origin of captions that stand in the photo's own file."""


class Captioned(Protocol):
    """The part of a caption that `description_hash` reads: a `SourceCaption` or a stored record has it."""

    @property
    def language(self) -> str: ...

    @property
    def text(self) -> str: ...

    @property
    def origin(self) -> str: ...


def printable(path: str | os.PathLike[str]) -> str:
    """A path as one line of UTF-8 text.

    Control characters are escaped, and so are bytes that aren't UTF-8, which old archives leave in names.
    """
    return one_line(os.fsencode(path).decode("utf-8", "backslashreplace"))


def is_utf8(path: str | os.PathLike[str]) -> bool:
    """True if a path is valid UTF-8 and can be stored as it is."""
    return not any("\ud800" <= character <= "\udfff" for character in str(path))


def one_line(text: str) -> str:
    """The text with line breaks and other control characters escaped; a file's name may hold them."""
    return "".join(c if c.isprintable() or c == " " else c.encode("unicode_escape").decode() for c in text)


def read_json(text: str | bytes) -> Any:
    """Parse JSON. NaN and infinite numbers, which Python writes and JSON doesn't have, are null.

    Raises:
        ValueError: the text is not JSON.
        RecursionError: it is nested too deeply.
    """
    return json.loads(text, parse_constant=_finite, parse_float=_finite)


def check_text(value: object) -> None:
    """Check that a JSON value can be stored as UTF-8.

    Raises:
        ValueError: a text in it holds half of a surrogate pair.
    """
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError("a text in it holds half of a surrogate pair") from error


def _finite(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def captions_from(texts: Iterable[str], origin: str, language: str | None = None) -> list[SourceCaption]:
    """Captions of the texts that aren't blank, trimmed, with a space in place of each NUL.

    Args:
        texts: one sentence each.
        origin: where they were found.
        language: their language; None detects it by script.
    """
    trimmed = (text.replace("\0", " ").strip() for text in texts)
    return [SourceCaption(language or language_of(text), text, origin) for text in trimmed if text]


def is_told(caption: Captioned) -> bool:
    """True if a source told the caption: it neither stands in the photo's own file, nor did a model write it."""
    return caption.origin != EMBEDDED_ORIGIN and not is_generated(caption.origin)


def captions_of_source(captions: Iterable[Captioned]) -> list[SourceCaption]:
    """Stored captions as a source gave them, without those that stand in the photo's own file or that a model wrote."""
    return [SourceCaption(caption.language, caption.text, caption.origin) for caption in captions if is_told(caption)]


def with_generated_captions(item: SourceItem, stored: Iterable[CaptionRecord]) -> SourceItem:
    """The item with those of the stored captions that a model wrote, unless it has them."""
    captions = {(caption.language, caption.text, caption.origin) for caption in item.captions}
    more = []
    for caption in stored:
        key = caption.language, caption.text, caption.origin
        if caption.generated and key not in captions:
            captions.add(key)
            more.append(SourceCaption(*key, caption.log_probability))
    return replace(item, captions=[*item.captions, *more])


def with_embedded_captions(item: SourceItem, embedded: dict[str, Any]) -> SourceItem:
    """The item with the description that stands in the photo's own file as one more caption, unless it has that text."""
    known = {caption.text for caption in item.captions}
    texts = [text for text in (embedded.get("description"),) if isinstance(text, str) and text.strip() not in known]
    return replace(item, captions=[*item.captions, *captions_from(texts, EMBEDDED_ORIGIN)])


def merge_items(items: Iterable[SourceItem]) -> list[SourceItem]:
    """Merge the items of the same photo into one, in the order of their first mention.

    A later item adds captions and metadata keys that are new; values that are known are kept.
    """
    merged: dict[tuple[Path, str | None], SourceItem] = {}
    for item in items:
        key = (item.uri, item.member)
        first = merged.get(key)
        merged[key] = item if first is None else _merge(first, item)
    return list(merged.values())


def _merge(first: SourceItem, later: SourceItem) -> SourceItem:
    known = {(caption.language, caption.text) for caption in first.captions}
    new = [caption for caption in later.captions if (caption.language, caption.text) not in known]
    return replace(first, captions=first.captions + new, metadata={**later.metadata, **first.metadata})


def description_hash(captions: Iterable[Captioned], metadata: dict[str, Any]) -> str:
    """SHA-256 (hex) of what a source says of a photo: captions, in any order, and metadata.

    Captions that stand in the photo's own file don't count, and those that a model wrote don't either.
    """
    told = filter(is_told, captions)
    ordered = sorted((caption.language, caption.text, caption.origin) for caption in told)
    content = json.dumps([ordered, metadata], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()
