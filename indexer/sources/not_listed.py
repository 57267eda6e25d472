"""What a source of listed photos leaves out: what the user excludes, and what nothing lists."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from indexer.errors import BadPattern
from indexer.items import SourceItem, printable
from indexer.sources import unused
from indexer.sources.base import Source
from indexer.sources.captions import seems_captions
from indexer.sources.exclusions import Exclusions, ignore_file_patterns
from indexer.sources.listing import FolderListing


def without_excluded(source: Source, folder: Path, exclude: Sequence[str], is_walked: bool) -> Source:
    """The source without the photos that a pattern, or the `.panoptesignore` of its folder, excludes.

    Args:
        source: a source of listed photos.
        folder: its folder.
        exclude: patterns in gitignore's syntax, relative to the folder; the members of a tar are below the tar.
        is_walked: True if `count_rest` counts the files that are excluded.
    """
    rules = Exclusions(folder, [*_of_ignore_file(folder), *exclude])
    if not rules:
        return source

    def kept() -> Iterator[SourceItem]:
        for item in source:
            path = os.fspath(item.uri) if item.member is None else os.path.join(item.uri, item.member)
            pattern = rules.pattern_of(path)
            if pattern is None:
                yield item
            elif item.member is not None or not is_walked:
                source.unused.add(unused.EXCLUDED, path, printable(pattern))

    return source.with_items(kept(), [])


def count_rest(source: Source, folder: Path, exclude: Sequence[str], used: Sequence[str]) -> None:
    """Count what is in the folder of a source of listed photos and is not used.

    Args:
        source: the source.
        folder: its folder.
        exclude: patterns in gitignore's syntax of what isn't wanted anyway.
        used: files that were read beside those of the source.
    """
    named = _hashes(source)
    listing = FolderListing(folder, exclude, used=frozenset([*map(os.fspath, source.files), *used]))
    for file in listing:
        at = int(np.searchsorted(named, hash(file.path)))
        if at == len(named) or named[at] != hash(file.path):
            source.unused.add(unused.NOT_LISTED, file.path)
    for table in listing.tables:
        if seems_captions(table):
            source.unused.add(unused.CAPTIONS, table, printable(os.path.relpath(table, folder)))
        else:
            source.unused.add(unused.OTHER_KIND, table)
    source.unused.extend(listing.unused)


def _hashes(source: Source) -> np.ndarray:
    """The hashes of the photos' paths, int64 [n], ascending."""
    return np.sort(np.array(array("q", (hash(os.fspath(item.uri)) for item in source if item.member is None)), np.int64))


def _of_ignore_file(folder: Path) -> list[str]:
    usable = []
    with suppress(OSError, ValueError):  # the walk through the folder tells of it
        for pattern in ignore_file_patterns(os.fspath(folder)):
            with suppress(BadPattern):
                Exclusions(folder, [pattern])
                usable.append(pattern)
    return usable
