"""A JSON Lines manifest: one object a line, with `image` or `features`, `captions` and any other keys."""

from __future__ import annotations

from pathlib import Path

from indexer.errors import EmptySource, MissingSource
from indexer.items import check_text, one_line, strict_json
from indexer.sources.base import Source
from indexer.sources.records import RecordListing, item_from


class ManifestSource(Source):
    """The photos that a JSON Lines file lists.

    Paths in `image`, and in `features` if they name an `.npz`, are relative to the manifest's folder, not to the working
    directory.
    """

    format = "manifest"

    def __init__(self, path: Path):
        """Read and check the whole file. Bad lines are problems.

        Raises:
            MissingSource: the file can't be read.
            EmptySource: it holds no record.
            BadManifestLine: no line can be used.
        """
        listing = RecordListing("line")
        try:
            with open(path, "rb") as file:
                for number, line in enumerate(file, 1):
                    _read(path, number, line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line, listing)
        except OSError as error:
            raise MissingSource(path, f"can't be read ({error.strerror})") from error
        items = listing.items()
        if not items:
            raise EmptySource(path, 'lines such as {"image": "a.jpg", "captions": {"en": ["A dog."]}}')
        super().__init__(path, items, listing.problems, [""] if listing.problems else [])


def _read(path: Path, number: int, line: bytes, listing: RecordListing) -> None:
    if not line.strip():
        return
    try:
        record = strict_json(line.decode("utf-8"))
        check_text(record)
    except (ValueError, RecursionError) as error:
        problem = "not UTF-8" if isinstance(error, UnicodeDecodeError) else f"not JSON ({one_line(str(error))})"
        listing.refuse(path, number, problem)
        return
    try:
        listing.add(item_from(path.parent, record))
    except ValueError as error:
        listing.refuse(path, number, str(error))
