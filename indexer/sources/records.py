"""What the sources that list photos with their captions share: a record is checked, or refused with a ValueError."""

from __future__ import annotations

import os
from array import array
from pathlib import Path

import numpy as np

from indexer.errors import BadManifestLine
from indexer.items import Failure, SourceCaption, SourceItem, captions_from, merged, printable
from indexer.sources.packed import Packed
from indexer.sources.regions import with_features

ORIGIN = "manifest"


def item_from(folder: Path, record: object) -> SourceItem:
    """The photo of a record {"image": path, "captions": {language: [...]}, ...}; paths are relative to `folder`.

    Raises ValueError.
    """
    if not isinstance(record, dict):
        raise ValueError("not a JSON object")
    image, captions, metadata = split(with_features(folder, record))
    if not isinstance(image, str) or not image.strip() or "\0" in image:
        raise ValueError('"image" must be the path of a photo')
    return SourceItem(Path(os.path.abspath(folder / image)), captions_by_language(captions, ORIGIN), metadata)


def split(record: dict) -> tuple[object, object, dict]:
    """A record's "image", its "captions", and the rest."""
    rest = {key: value for key, value in record.items() if key not in ("image", "captions")}
    return record.get("image"), record.get("captions", {}), rest


def captions_by_language(by_language: object, origin: str) -> list[SourceCaption]:
    """{language: [sentence, ...]} as captions. Raises ValueError."""
    if not isinstance(by_language, dict):
        raise ValueError('"captions" must be an object such as {"en": ["A dog."], "zh": ["一只狗。"]}')
    captions = []
    for language, texts in by_language.items():
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise ValueError(f'"captions" must hold a list of sentences for {language!r}')
        if not language.strip():
            raise ValueError('"captions" must name a language, such as "en" or "zh"')
        captions += captions_from(texts, origin, language.strip())
    return captions


class RecordListing:
    """The records of a manifest as they are read: good ones give photos, the others are noted as problems."""

    def __init__(self, kind: str):
        """`kind` is what a record is called, "line" or "row"."""
        self._kind, self._items, self.problems = kind, Packed(), []
        self._hashes = array("q")
        self._first_refusal: BadManifestLine | None = None

    def add(self, item: SourceItem) -> None:
        """A photo, with captions and metadata; once more is fine."""
        self._items.add(item)
        self._hashes.append(hash((item.uri, item.member)))

    def refuse(self, path: Path, number: int, problem: str) -> None:
        """A record that says nothing usable."""
        self._first_refusal = self._first_refusal or BadManifestLine(path, number, problem, self._kind)
        place = f"{printable(path)}, {self._kind} {number}"
        sentence = f"{place}: {problem}; mend that {self._kind} and run again."
        self.problems.append(Failure(place, f"bad_{self._kind}", sentence))

    def items(self) -> Packed:
        """Each photo once. Raises BadManifestLine where there is none, and a record that might have been one."""
        if not self._items and self._first_refusal:
            raise self._first_refusal
        hashes = np.sort(np.array(self._hashes, np.int64))
        return Packed(merged(self._items)) if (hashes[1:] == hashes[:-1]).any() else self._items
