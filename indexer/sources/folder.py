"""A folder of photos, with captions in text files beside them."""

import codecs
import os
import re
from pathlib import Path

from indexer.errors import EmptySource
from indexer.items import Failure, SourceCaption, SourceItem, captions_from, printable
from indexer.sources.base import Source
from storage.places import beginnings

PHOTOS = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"}
ORIGIN = "text file"


class FolderSource(Source):
    """All photos below a folder, by name with numbers in their order; hidden files and folders are left out.

    `name.txt` beside `name.jpg` holds a caption in each line that isn't blank.
    """

    format = "folder"

    def __init__(self, root: Path):
        """Raises EmptySource."""
        problems: list[Failure] = []
        hidden: list[str] = []
        found = files_below(root, PHOTOS, problems, hidden)
        photos = sorted(found, key=lambda one: natural(one[0].relative_to(root)))
        if not photos:
            raise EmptySource(root, f"photos ({', '.join(sorted(ending[1:] for ending in PHOTOS))})")
        items = [SourceItem(photo, captions_beside(text, problems)) for photo, text in photos]
        super().__init__(root, items, problems, hidden)


def files_below(
    root: Path, endings: set[str], problems: list[Failure], hidden: list[str]
) -> list[tuple[Path, Path | None]]:
    """Each file of such an ending with the text file beside it, if there is one. Linked folders are entered, each only once.
    `hidden` gets the beginnings of uris below folders that can't be read."""

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
                text = Path(folder, texts[stem]) if stem in texts else None
                found.append((Path(folder, name), text))
    return found


def captions_beside(path: Path | None, problems: list[Failure]) -> list[SourceCaption]:
    """The captions in a text file, if there is one; a problem where it can't be read."""
    if path is None:
        return []
    try:
        return captions_from(decoded_text(path.read_bytes()).splitlines(), ORIGIN)
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


def natural(path: Path) -> tuple:
    """A sort key under which 2.jpg comes before 10.jpg."""
    return [_pieces(part) for part in path.parts], str(path)


def _pieces(name: str) -> list[tuple[int, int, str]]:
    pieces = re.split(r"(\d+)", name.casefold())
    return [(0, int(piece), "") if number % 2 else (1, 0, piece) for number, piece in enumerate(pieces)]
