"""What every source offers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from copy import copy
from pathlib import Path

from indexer.items import Failure, SourceItem
from indexer.sources.packed import Packed


class Source:
    """Photos in a fixed order, each once. The list is read when the source is opened; pixels are not.

    `root` is the absolute path that was opened; `problems` are files beside the photos that could not be used; `hidden` are
    beginnings of the uris of photos that there may be and that could not be listed ("": any), which are not to be missed.
    `told` is what `open_source` was given beside the path, as JSON values; None where nobody could open it so again.
    """

    format: str
    told: dict | None = None

    def __init__(
        self, root: Path, items: Iterable[SourceItem], problems: list[Failure] | None = None, hidden: Iterable[str] = ()
    ):
        """`problems` and `hidden` may grow while `items` are made."""
        self._items = _packed(items)
        self.root = root
        self.problems = problems or []
        self.hidden = list(hidden)

    def changed(self, items: Iterable[SourceItem], problems: list[Failure]) -> Source:
        """The same source with other items in place of its own, and with these problems too."""
        other = copy(self)
        other._items, other.problems = _packed(items), [*self.problems, *problems]
        return other

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[SourceItem]:
        return iter(self._items)


def _packed(items: Iterable[SourceItem]) -> Packed:
    return items if isinstance(items, Packed) else Packed(items)
