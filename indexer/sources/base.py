"""What every source offers."""

from collections.abc import Iterator
from pathlib import Path

from indexer.items import Failure, SourceItem


class Source:
    """Photos in a fixed order, each once. The list is read when the source is opened; pixels are not.

    `root` is the absolute path that was opened; `problems` are files beside the photos that could not be used.
    """

    format: str

    def __init__(self, root: Path, items: list[SourceItem], problems: list[Failure] | None = None):
        self.root = root
        self.problems = problems or []
        self._items = items

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[SourceItem]:
        return iter(self._items)
