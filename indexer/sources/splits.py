"""The splits that a source's records name, such as `train` and `test`, and the part of the source that is in some of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from indexer.errors import SeveralSplits, UnknownSplit, splits_named
from indexer.items import SourceItem, one_line
from indexer.sources.base import Source

ALL, TEST = "all", "test"
UNNAMED = "none"
"""How photos are counted whose records name no split, in a source where others do."""


def split_of(item: SourceItem) -> str:
    """The split of a photo, by its record's field `split`."""
    value = item.metadata.get("split")
    return UNNAMED if value is None else one_line(str(value))


def splits_of(source: Iterable[SourceItem]) -> dict[str, int]:
    """The number of photos of each split, the largest first; empty if no record names one."""
    counts = Counter(map(split_of, source))
    return {} if set(counts) <= {UNNAMED} else dict(counts.most_common())


def chosen_splits(counts: Mapping[str, int], asked: Sequence[str] = ()) -> list[str]:
    """The splits to measure on. Of several, that is the one called "test" unless others were asked for.

    Args:
        counts: What `splits_of` returned.
        asked: Names of splits; "all" among them stands for all.

    Returns:
        Some or all keys of `counts`, in its order.

    Raises:
        UnknownSplit: There is none of a name that was asked for.
        SeveralSplits: There are several, none of them is called "test", and none was asked for.
    """
    if ALL in asked:
        return list(counts)
    for name in asked:
        if name not in counts:
            raise UnknownSplit(name, counts)
    if asked or len(counts) < 2:
        return [name for name in counts if name in asked or not asked]
    if TEST not in counts:
        raise SeveralSplits(counts)
    return [TEST]


def in_splits(source: Source, names: Sequence[str]) -> Source:
    """The source with only the photos of these splits, in their order."""
    wanted = set(names)
    return source.with_items((item for item in source if split_of(item) in wanted), [])


def splits_line(there: Mapping[str, int], measured: Sequence[str]) -> str:
    """A sentence about what was taken of a source with several splits."""
    left = [name for name in there if name not in measured]
    what = f"split{'s' * (len(measured) > 1)} {splits_named(there, measured)}"
    return f"Measured on the {what}" + (f"; left out: {splits_named(there, left)}." if left else ": all that there are.")
