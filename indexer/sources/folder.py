"""A folder of photos, with captions in text files beside them."""

from __future__ import annotations

import codecs
import os
import re
from pathlib import Path

from encoder.inputs.image_formats import PHOTO_ENDINGS
from indexer.errors import EmptySource
from indexer.items import Failure, SourceCaption, SourceItem, captions_from, printable
from indexer.sources.base import Source
from storage.photo_uri import beginnings

PHOTOS = set(PHOTO_ENDINGS)
ORIGIN = "text file"
KEY_END, TEXT_END, PART_END = "\0", "\1", "\2"  # each sorts before every character that may stand in its place


class FolderSource(Source):
    """All photos below a folder, in natural order (2.jpg before 10.jpg). Hidden files and folders are left out.

    `name.txt` beside `name.jpg` holds one caption a line; blank lines are skipped.
    """

    format = "folder"

    def __init__(self, root: Path):
        """List the folder.

        Raises:
            EmptySource: it holds no photo.
        """
        problems: list[Failure] = []
        hidden_prefixes: list[str] = []
        photos = files_below(root, PHOTOS, problems, hidden_prefixes)
        if not photos:
            raise EmptySource(root, f"photos ({', '.join(sorted(ending[1:] for ending in PHOTOS))})")
        items = (SourceItem(Path(photo), captions_beside(text, problems)) for photo, text in photos)
        super().__init__(root, items, problems, hidden_prefixes)


def files_below(
    root: Path, endings: set[str], problems: list[Failure], hidden_prefixes: list[str]
) -> list[tuple[str, str | None]]:
    """List the files below a folder, in natural order. Linked folders are entered, each only once.

    Args:
        root: the folder.
        endings: the endings wanted, in lower case.
        problems: gets a failure for each folder that can't be read.
        hidden_prefixes: gets how the uris below such a folder begin.

    Returns:
        (path of the file, path of the text file beside it or None) for each.
    """

    def unreadable(error: OSError) -> None:
        folder = printable(error.filename)
        problems.append(Failure(folder, "folder_unreadable", f"{folder} can't be read ({error.strerror})."))
        hidden_prefixes.extend(beginnings(Path(error.filename)))

    found: list[tuple[str, str | None]] = []
    entered: set[str] = set()
    for folder, folders, names in os.walk(root, followlinks=True, onerror=unreadable):
        real = os.path.realpath(folder)
        if real in entered:
            folders.clear()
            continue
        entered.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += _files_in(folder, names, endings)
    root_length = len(os.path.join(root, ""))
    found.sort(key=lambda file: natural_key(file[0][root_length:]))
    return found


def _files_in(folder: str, names: list[str], endings: set[str]) -> list[tuple[str, str | None]]:
    texts = {name[:-4]: name for name in names if name.lower().endswith(".txt") and not name.startswith(".")}
    found = []
    for name in names:
        stem, ending = os.path.splitext(name)
        if ending.lower() in endings and not name.startswith("."):
            text = os.path.join(folder, texts[stem]) if stem in texts else None
            found.append((os.path.join(folder, name), text))
    return found


def captions_beside(path: str | None, problems: list[Failure]) -> list[SourceCaption]:
    """Read the captions of a text file, one a line.

    Args:
        path: the text file; None gives no captions.
        problems: gets a failure if the file can't be read.
    """
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
    """Decode UTF-8, or UTF-16 with a byte order mark, as Windows editors write it.

    Raises:
        UnicodeDecodeError: it is neither.
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16")
    return content.decode("utf-8-sig")


def natural_key(path: str) -> str:
    """A sort key under which 2.jpg comes before 10.jpg, in each folder of a path.

    The key is one string: a tuple of parts would take several times the memory.
    """
    return "".join(_ordered(part) + PART_END for part in path.split(os.sep)) + KEY_END + path


def _ordered(name: str) -> str:
    pieces = re.split(r"(\d+)", name.casefold())
    return "".join(_number(int(piece)) if number % 2 else piece + TEXT_END for number, piece in enumerate(pieces))


def _number(value: int) -> str:
    """A number's part of the key: longer numbers sort after shorter ones, and all of them after the end of a name."""
    digits = str(value)
    return chr(ord(PART_END) + len(digits)) + digits
