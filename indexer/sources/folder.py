"""A folder of photos, with captions in text files beside them or in tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from indexer.errors import EmptySource
from indexer.sources.base import Source
from indexer.sources.listing import PHOTOS, FolderListing, listed_item


class FolderSource(Source):
    """All photos below a folder, in natural order (2.jpg before 10.jpg). Hidden files and folders are left out.

    `name.txt` or `name.jpg.txt` beside `name.jpg` holds one caption a line; blank lines are skipped. `name.xmp` and Google
    Takeout's `name.jpg.json` say when it was taken, and what people wrote of it.
    """

    format = "folder"

    def __init__(self, root: Path, exclude: Sequence[str] = ()):
        """List the folder.

        Args:
            root: the folder.
            exclude: patterns in gitignore's syntax of what isn't wanted.

        Raises:
            EmptySource: it holds no photo.
            BadPattern: a pattern has a syntax error.
        """
        listing = FolderListing(root, exclude)
        items = (listed_item(photo, listing) for photo in listing)
        super().__init__(root, items, listing.problems, listing.hidden_prefixes, listing.unused)
        if not len(self):
            raise EmptySource(root, f"photos ({', '.join(sorted(ending[1:] for ending in PHOTOS))})", listing.unused.summary())
        self.tables = listing.tables
