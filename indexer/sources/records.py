"""Records of manifests: what JSON Lines, Parquet and WebDataset share."""

from __future__ import annotations

import os
from array import array
from pathlib import Path
from typing import Any

import numpy as np

from indexer.errors import BadManifestLine
from indexer.items import Failure, SourceCaption, SourceItem, captions_from, merge_items, printable
from indexer.sources.packed import PackedItems
from indexer.sources.regions import with_features

ORIGIN = "manifest"


def item_from(folder: Path, record: object) -> SourceItem:
    """The photo of a record {"image": path, "captions": {language: [...]}, ...}.

    Args:
        folder: the folder that paths are relative to.
        record: a JSON value.

    Raises:
        ValueError: the record can't be used.
    """
    if not isinstance(record, dict):
        raise ValueError("not a JSON object")
    image, captions, metadata = split_record(with_features(folder, record))
    if not isinstance(image, str) or not image.strip() or "\0" in image:
        raise ValueError('"image" must be the path of a photo')
    return SourceItem(Path(os.path.abspath(folder / image)), captions_by_language(captions, ORIGIN), metadata)


def split_record(record: dict[str, Any]) -> tuple[object, object, dict[str, Any]]:
    """A record's "image", its "captions", and all its other keys."""
    rest = {key: value for key, value in record.items() if key not in ("image", "captions")}
    return record.get("image"), record.get("captions", {}), rest


def captions_by_language(by_language: object, origin: str) -> list[SourceCaption]:
    """Captions from {language: [sentence, ...]}.

    Raises:
        ValueError: the value has another form.
    """
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
