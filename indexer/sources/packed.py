"""Photos with their captions as a source lists them, kept small."""

from __future__ import annotations

import pickle
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from indexer.items import SourceCaption, SourceItem

AT_ONCE = 256


class Packed:
    """Items in the order in which they came. They take a tenth of the memory that as many objects take: they are made anew
    each time they are asked for, some at a time."""

    def __init__(self, items: Iterable[SourceItem] = ()):
        self._parts: list[bytes] = []
        self._last: list[SourceItem] = []
        for item in items:
            self.add(item)

    def add(self, item: SourceItem) -> None:
        """Append one."""
        self._last.append(item)
        if len(self._last) == AT_ONCE:
            self._parts.append(_pack(self._last))
            self._last = []

    def __len__(self) -> int:
        return AT_ONCE * len(self._parts) + len(self._last)

    def __iter__(self) -> Iterator[SourceItem]:
        for part in self._parts:
            yield from _unpack(part)
        yield from self._last


def _pack(items: list[SourceItem]) -> bytes:
    told = [
        (str(item.uri), [(one.language, one.text, one.origin) for one in item.captions], item.metadata, item.member)
        for item in items
    ]
    return zlib.compress(pickle.dumps(told, pickle.HIGHEST_PROTOCOL), 1)


def _unpack(part: bytes) -> Iterator[SourceItem]:
    for uri, captions, metadata, member in pickle.loads(zlib.decompress(part)):  # nosec B301 # this process packed it
        yield SourceItem(Path(uri), [SourceCaption(*one) for one in captions], metadata, member)
