"""Records: what a line of JSON, a row of Parquet or of a table, a JSON in a tar and a COCO annotation say of a photo.

All of them are read here, so that a record means the same in every kind of source.
"""

from __future__ import annotations

import datetime
import decimal
import math
import os
import re
from array import array
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from indexer.errors import BadManifestLine
from indexer.items import Failure, SourceCaption, SourceItem, captions_from, check_text, merge_items, printable
from indexer.sources.packed import PackedItems
from indexer.sources.regions import with_features
from indexer.sources.text_pairing import LANGUAGES

ORIGIN = "manifest"
IMAGE_KEYS = (
    "image", "file_name", "filename", "image_path", "img_path", "image_file", "image_name", "img", "path", "file", "filepath",
    "photo",
)  # fmt: skip
"""The keys that may name a photo, the first that does counts; the others are metadata."""
CLEAR_IMAGE_KEYS = IMAGE_KEYS[:5]
"""Those that only lists of photos have; a log may have a `path`."""
WEB_KEYS = "url", "image_url", "img_url"
CAPTION_KEY = re.compile(r"captions?(?:[_-](?P<language>[a-z]{2})(?:[_-][a-z]{2,4})?|[_-]?\d{1,3})?", re.IGNORECASE)
SENTENCE_KEY = re.compile(r"(?:sentences?|texts?)(?:[_-](?P<language>[a-z]{2})(?:[_-][a-z]{2,4})?)?", re.IGNORECASE)
"""The keys of captions in records that have no key of the first kind."""
NO_LANGUAGES = frozenset({"id", "no"})
"""Codes of languages that mean something else in a key: `caption_id` is a number."""
LANGUAGE_KEYS = "language", "lang"
TEXT_KEYS = "caption", "text", "sentence", "raw"
"""Where a caption that is an object has its sentence."""
Sentence = tuple[str | None, str]
"""A sentence and its language; None if the record doesn't say it."""


class Record(NamedTuple):
    """What a record says: its captions, and everything else as JSON values."""

    captions: list[SourceCaption]
    metadata: dict[str, Any]


def read_record(record: object, origin: str = ORIGIN, language: str | None = None) -> Record:
    """Read a record.

    A caption is a sentence, a list of sentences, an object from languages to either, or a list of objects with a `caption`,
    `text`, `sentence` or `raw`, and their `language`. Null is the same as nothing.

    Args:
        record: an object, of values as JSON and Parquet have them.
        origin: where it was found.
        language: the language of captions that don't say theirs; None detects it by script.

    Raises:
        ValueError: the record can't be used.
    """
    if not isinstance(record, Mapping):
        raise ValueError("not a JSON object")
    rest = {str(key): json_value(value) for key, value in record.items() if not _is_binary(value)}
    check_text(rest)
    captions = [one for own, text in _take_sentences(rest) for one in captions_from([text], origin, own or language)]
    return Record(captions, rest)


def record_sentences(record: Mapping[str, Any]) -> list[Sentence]:
    """The captions of a record as sentences, with the language that it gives for each.

    Raises:
        ValueError: the record can't be used.
    """
    check_text(record)
    return _take_sentences(dict(record))


def item_from(folder: Path, record: object) -> SourceItem:
    """The photo of a manifest's record.

    Args:
        folder: the folder that paths are relative to.
        record: a JSON value.

    Raises:
        ValueError: the record can't be used.
    """
    if not isinstance(record, Mapping):
        raise ValueError("not a JSON object")
    has_image = any(record.get(key) is not None for key in IMAGE_KEYS)
    captions, metadata = read_record(with_features(folder, dict(record), has_image))
    image = take_image(metadata)
    if image is None:
        raise ValueError(_no_image(metadata))
    return SourceItem(Path(os.path.abspath(folder / image)), captions, metadata)


def take_image(metadata: dict[str, Any]) -> str | None:
    """Take what names the photo out of a record's metadata; None if nothing does.

    Raises:
        ValueError: that is no path.
    """
    key = next((key for key in IMAGE_KEYS if metadata.get(key) is not None), None)
    if key is None:
        return None
    image = metadata.pop(key)
    if isinstance(image, dict):  # Hugging Face's form of an image that is a file of its own
        image = image.get("path")
    if not isinstance(image, str) or not image.strip() or "\0" in image:
        raise ValueError(f'"{key}" must be the path of a photo')
    folder = metadata.get("filepath")
    if key == "filename" and isinstance(folder, str) and folder.strip() and "\0" not in folder:  # Karpathy's files
        image = f"{folder}/{image}"
    return image


def names_photo(record: object) -> str | None:
    """What a record calls its photo; None if it is no record of a photo."""
    try:
        return take_image(dict(record)) if isinstance(record, Mapping) else None
    except ValueError:
        return None


def is_caption_key(key: str) -> bool:
    """True if captions of a record may stand under this key."""
    return any(_language_in(pattern, key) is not None for pattern in (CAPTION_KEY, SENTENCE_KEY))


def json_value(value: object) -> Any:
    """A value of a record as a JSON value. A number that JSON doesn't have is null, as it is in tables.

    Raises:
        ValueError: JSON has no such value.
    """
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): json_value(one) for key, one in value.items() if not _is_binary(one)}
    if isinstance(value, list | tuple):
        return [json_value(one) for one in value]
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, decimal.Decimal):
        return float(value) if value.is_finite() else None
    raise ValueError(f"a {type(value).__name__} can't be kept as metadata")


def _no_image(metadata: dict[str, Any]) -> str:
    address = next((key for key in WEB_KEYS if metadata.get(key)), None)
    if address is None:
        return '"image" must be the path of a photo'
    return f'"image" must be the path of a photo; "{address}" is a web address, and nothing is fetched'


def _take_sentences(rest: dict[str, Any]) -> list[Sentence]:
    sentences = list(_captions(rest))
    if all(own is not None for own, _ in sentences):
        return sentences
    language = _own_language(rest)
    return [(own or language, text) for own, text in sentences]


def _captions(rest: dict[str, Any]) -> Iterator[Sentence]:
    """Take the captions out of a record; `captions` come before `caption`.

    Raises:
        ValueError: `captions` or `caption` hold something else. Other keys that do stay in the record.
    """
    keys = [key for key in rest if _language_in(CAPTION_KEY, key) is not None]
    if all(rest[key] is None for key in keys):
        keys += [key for key in rest if _language_in(SENTENCE_KEY, key) is not None]
    for key in sorted(keys, key=lambda key: (key != "captions", key)):
        try:
            sentences = list(_sentences(rest[key], key))
        except ValueError:
            if key in ("captions", "caption"):
                raise
            continue
        del rest[key]
        language = _language_in(CAPTION_KEY, key) or _language_in(SENTENCE_KEY, key) or None
        yield from ((own or language, text) for own, text in sentences)


@lru_cache(4096)
def _language_in(pattern: re.Pattern[str], key: str) -> str | None:
    """The language that a key of captions ends in, "" if it names none; None if it is no key of captions."""
    match = pattern.fullmatch(key)
    if match is None or match["language"] is None:
        return None if match is None else ""
    language = match["language"].lower()
    return language if language in LANGUAGES - NO_LANGUAGES else None


def _sentences(value: object, key: str) -> Iterator[Sentence]:
    if value is None:
        return
    if isinstance(value, str):
        yield None, value
    elif isinstance(value, list):
        for one in value:
            if isinstance(one, list):
                raise ValueError(f'"{key}" must hold sentences')
            yield from _sentences(one, key)
    elif isinstance(value, dict):
        yield from _by_language(value, key)
    else:
        raise ValueError(f'"{key}" must be text, a list of sentences, or an object such as {{"en": ["A dog."]}}')


def _by_language(value: dict[str, Any], key: str) -> Iterator[Sentence]:
    text_key = next((name for name in TEXT_KEYS if isinstance(value.get(name), str)), None)
    if text_key is not None:
        yield _own_language(dict(value)), value[text_key]
        return
    for language, texts in value.items():
        if isinstance(texts, str):
            texts = [texts]
        if texts is None:
            continue
        if not isinstance(texts, list) or not all(isinstance(text, str | None) for text in texts):
            raise ValueError(f'"{key}" must hold a list of sentences for {language!r}')
        if not language.strip():
            raise ValueError(f'"{key}" must name a language, such as "en" or "zh"')
        yield from ((language.strip(), text) for text in texts if text is not None)


def _own_language(rest: dict[str, Any]) -> str | None:
    """Take the language that a record gives for its captions out of it."""
    for key in LANGUAGE_KEYS:
        if isinstance(rest.get(key), str) and rest[key].strip():
            return rest.pop(key).strip()
    return None


def _is_binary(value: object) -> bool:
    return isinstance(value, bytes | bytearray | memoryview)


class RecordListing:
    """Collects the records of a manifest while it is read: usable ones as photos, the others as problems."""

    def __init__(self, kind: str):
        """Start empty.

        Args:
            kind: what messages call a record, "line" or "row".
        """
        self.problems: list[Failure] = []
        self._kind, self._items = kind, PackedItems()
        self._hashes = array("q")
        self._first_refusal: BadManifestLine | None = None

    def add(self, item: SourceItem) -> None:
        """Add a photo; the same photo may come several times."""
        self._items.add(item)
        self._hashes.append(hash((item.uri, item.member)))

    def refuse(self, path: Path, number: int, problem: str) -> None:
        """Note that the record `number` of the file can't be used."""
        self._first_refusal = self._first_refusal or BadManifestLine(path, number, problem, self._kind)
        where = f"{printable(path)}, {self._kind} {number}"
        sentence = f"{where}: {problem}; mend that {self._kind} and run again."
        self.problems.append(Failure(where, f"bad_{self._kind}", sentence))

    def items(self) -> PackedItems:
        """The photos, each once.

        Raises:
            BadManifestLine: there is none, and some record could not be used.
        """
        if not self._items and self._first_refusal:
            raise self._first_refusal
        hashes = np.sort(np.array(self._hashes, np.int64))
        has_repeats = (hashes[1:] == hashes[:-1]).any()
        return PackedItems(merge_items(self._items)) if has_repeats else self._items
