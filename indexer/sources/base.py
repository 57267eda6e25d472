"""The interface of every source."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from copy import copy
from pathlib import Path
from typing import Any

from indexer.items import Failure, SourceItem
from indexer.sources.packed import PackedItems
from indexer.sources.unused import Unused


class Source:
    """Photos in a fixed order, each once. Opening a source reads the list of photos, not their pixels.

    Attributes:
        format: one of `indexer.errors.FORMATS`.
        root: the absolute path that was opened.
        problems: files beside the photos that could not be used.
        hidden_prefixes: how the uris of photos begin that may exist and could not be listed ("" matches any). Such photos
            do not count as vanished.
        unused: what the source holds and does not use, counted.
        files: the files that list its photos or hold them; empty where the photos lie open.
        tables: files below its folder that may be tables of captions; `indexer.sources.captions.CaptionJoin` reads them.
        options: what `open_source` was given beside the path, as JSON values; None if it can't be opened again that way.
    """

    format: str
    options: dict[str, Any] | None = None

    def __init__(
        self,
        root: Path,
        items: Iterable[SourceItem],
        problems: list[Failure] | None = None,
        hidden_prefixes: Iterable[str] = (),
        unused: Unused | None = None,
        files: Iterable[Path] = (),
    ):
        """Read all items.

        Args:
            root: the absolute path of the source.
            items: its photos; an iterator may still append to `problems` and `hidden_prefixes` while it is read.
            problems: files that could not be used.
            hidden_prefixes: see the class.
            unused: what it holds and does not use.
            files: the files that list its photos or hold them.
        """
        self._items = _packed(items)
        self.root = root
        self.problems = problems or []
        self.hidden_prefixes = list(hidden_prefixes)
        self.unused = Unused() if unused is None else unused
        self.files = list(files)
        self.tables: list[str] = []

    def with_items(self, items: Iterable[SourceItem], problems: list[Failure]) -> Source:
        """A copy of this source that has other items, and these problems in addition to its own."""
        other = copy(self)
        other._items, other.problems = _packed(items), [*self.problems, *problems]
        return other

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[SourceItem]:
        return iter(self._items)


def _packed(items: Iterable[SourceItem]) -> PackedItems:
    return items if isinstance(items, PackedItems) else PackedItems(items)
