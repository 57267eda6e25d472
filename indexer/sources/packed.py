"""A compressed list of a source's photos and captions."""

from __future__ import annotations

import pickle
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from indexer.items import SourceCaption, SourceItem

ITEMS_PER_PART = 256


class PackedItems:
    """Items in the order in which they were added, in a tenth of the memory that the objects take.

    They are compressed in parts of `ITEMS_PER_PART`, and each iteration makes the objects anew.
    """

    def __init__(self, items: Iterable[SourceItem] = ()):
        self._parts: list[bytes] = []
        self._last: list[SourceItem] = []
        for item in items:
            self.add(item)

    def add(self, item: SourceItem) -> None:
        """Append an item."""
        self._last.append(item)
        if len(self._last) == ITEMS_PER_PART:
            self._parts.append(_pack(self._last))
            self._last = []

    def __len__(self) -> int:
        return ITEMS_PER_PART * len(self._parts) + len(self._last)

    def __iter__(self) -> Iterator[SourceItem]:
        for part in self._parts:
            yield from _unpack(part)
        yield from self._last


def _pack(items: list[SourceItem]) -> bytes:
    rows = [
        (str(item.uri), [(one.language, one.text, one.origin) for one in item.captions], item.metadata, item.member)
        for item in items
    ]
    return zlib.compress(pickle.dumps(rows, pickle.HIGHEST_PROTOCOL), 1)


def _unpack(part: bytes) -> Iterator[SourceItem]:
    for uri, captions, metadata, member in pickle.loads(zlib.decompress(part)):  # nosec B301 # this process packed it
        yield SourceItem(Path(uri), [SourceCaption(*one) for one in captions], metadata, member)
