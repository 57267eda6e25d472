"""A folder of photos, with captions in text files beside them."""

from __future__ import annotations

import codecs
import os
import re
from pathlib import Path

from indexer.errors import EmptySource
from indexer.items import Failure, SourceCaption, SourceItem, captions_from, printable
from indexer.sources.base import Source
from storage.photo_uri import beginnings

PHOTOS = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"}
ORIGIN = "text file"
KEY_ENDS, TEXT_ENDS, PART_ENDS = "\0", "\1", "\2"  # each before all that may stand in its place


class FolderSource(Source):
    """All photos below a folder, by name with numbers in their order; hidden files and folders are left out.

    `name.txt` beside `name.jpg` holds a caption in each line that isn't blank.
    """

    format = "folder"

    def __init__(self, root: Path):
        """Raises EmptySource."""
        problems: list[Failure] = []
        hidden: list[str] = []
        photos = files_below(root, PHOTOS, problems, hidden)
        if not photos:
            raise EmptySource(root, f"photos ({', '.join(sorted(ending[1:] for ending in PHOTOS))})")
        items = (SourceItem(Path(photo), captions_beside(text, problems)) for photo, text in photos)
        super().__init__(root, items, problems, hidden)


def files_below(root: Path, endings: set[str], problems: list[Failure], hidden: list[str]) -> list[tuple[str, str | None]]:
    """The path of each file of such an ending, by name with numbers in their order, and that of the text file beside it, if
    there is one. Linked folders are entered, each only once. `hidden` gets the beginnings of uris below folders that can't be
    read."""

    def unreadable(error: OSError) -> None:
        folder = printable(error.filename)
        problems.append(Failure(folder, "folder_unreadable", f"{folder} can't be read ({error.strerror})."))
        hidden.extend(beginnings(Path(error.filename)))

    found, entered = [], set()
    for folder, folders, names in os.walk(root, followlinks=True, onerror=unreadable):
        real = os.path.realpath(folder)
        if real in entered:
            folders.clear()
            continue
        entered.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        texts = {name[:-4]: name for name in names if name.lower().endswith(".txt") and not name.startswith(".")}
        for name in names:
            stem, ending = os.path.splitext(name)
            if ending.lower() in endings and not name.startswith("."):
                text = os.path.join(folder, texts[stem]) if stem in texts else None
                found.append((os.path.join(folder, name), text))
    above = len(os.path.join(root, ""))
    found.sort(key=lambda one: natural(one[0][above:]))
    return found


def captions_beside(path: str | None, problems: list[Failure]) -> list[SourceCaption]:
    """The captions in a text file, if there is one; a problem where it can't be read."""
    if path is None:
        return []
    try:
        return captions_from(decoded_text(Path(path).read_bytes()).splitlines(), ORIGIN)
    except (OSError, UnicodeDecodeError):
        shown = printable(path)
        sentence = f"{shown} can't be read as UTF-8 text; save it as UTF-8 (its photo was indexed without it)."
        problems.append(Failure(shown, "caption_unreadable", sentence))
        return []


def decoded_text(content: bytes) -> str:
    """UTF-8, or UTF-16 where the file says so, as Windows editors write it."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16")
    return content.decode("utf-8-sig")


def natural(path: str) -> str:
    """A sort key under which 2.jpg comes before 10.jpg, in each folder of a path. It is one text, for a key of pieces takes
    some times the memory."""
    return "".join(_ordered(part) + PART_ENDS for part in path.split(os.sep)) + KEY_ENDS + path


def _ordered(name: str) -> str:
    pieces = re.split(r"(\d+)", name.casefold())
    return "".join(_number(int(piece)) if place % 2 else piece + TEXT_ENDS for place, piece in enumerate(pieces))


def _number(value: int) -> str:
    """Longer numbers come after shorter ones, and any after the end of the name."""
    digits = str(value)
    return chr(ord(PART_ENDS) + len(digits)) + digits
