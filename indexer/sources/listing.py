"""Lists the files below a folder: photos with the texts beside them, and what else is there."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from encoder.inputs.image_formats import PHOTO_ENDINGS
from indexer.errors import BadPattern
from indexer.items import Failure, SourceCaption, SourceItem, one_line, printable
from indexer.sources import unused
from indexer.sources.exclusions import IGNORE_FILE, Exclusions, ignore_file_patterns, system_name
from indexer.sources.photo_pairs import given_to_photos, is_motion, second_files
from indexer.sources.sidecars import SIDECARS, read_sidecars, sidecars_of
from indexer.sources.text_files import MAX_TEXT_BYTES, text_captions
from indexer.sources.text_pairing import TEXTS, PairedText, folded, pair
from indexer.sources.unused import Unused
from storage.photo_uri import beginnings

PHOTOS = PHOTO_ENDINGS
TABLES = frozenset({".csv", ".tsv", ".txt", ".token", ".json", ".jsonl", ".parquet"})
"""Files that may be a table of captions."""
METADATA_TABLES = frozenset({"metadata.csv", "metadata.jsonl", "metadata.parquet"})
"""Tables that belong to the folder in which they stand, as in Hugging Face's imagefolder."""
MOST_TABLES = 20
"""So many files below the top are looked into, whether they hold captions."""
KEY_END, TEXT_END, PART_END = "\0", "\1", "\2"  # each sorts before every character that may stand in its place


class ListedFile(NamedTuple):
    """A photo, or another wanted file, with what belongs to it.

    Attributes:
        path: the file.
        texts: the texts beside it; their names are paths.
        sidecars: the paths of other files about it.
    """

    path: str
    texts: list[PairedText]
    sidecars: list[str]


@dataclass
class _Folder:
    """A folder that is being listed.

    Attributes:
        path: the folder.
        names: what is left of its sub-folders and wanted files.
        folders: which of them are sub-folders.
        texts: the texts of its files.
        sidecars: their sidecars.
        rules: the patterns that count in it.
    """

    path: str
    names: Iterator[str]
    folders: frozenset[str]
    texts: dict[str, list[PairedText]]
    sidecars: dict[str, list[str]]
    rules: tuple[Exclusions, ...]

    def file(self, name: str) -> ListedFile:
        """One of its files, with paths."""
        texts = [text._replace(name=os.path.join(self.path, text.name)) for text in self.texts.get(name, ())]
        sidecars = [os.path.join(self.path, sidecar) for sidecar in self.sidecars.get(name, ())]
        return ListedFile(os.path.join(self.path, name), texts, sidecars)


@dataclass
class FolderListing:
    """The wanted files below a folder, in natural order (2.jpg before 10.jpg), made while they are iterated.

    Linked folders are entered, each only once. Only the files of one folder at a time are kept in memory.

    Attributes:
        root: the folder.
        exclude: patterns in gitignore's syntax of what isn't wanted, relative to `root`.
        endings: the endings wanted, in lower case.
        used: paths of files that are used already.
        within: folders below `root`; where there are any, only what is in them is listed.
        problems: gets a failure for each folder that can't be read, and for each text that may belong to several photos.
        hidden_prefixes: gets how the uris below a folder that can't be read begin.
        unused: gets what is there and not wanted.
        tables: gets the files that may be a table of captions and belong to no photo.
    """

    root: str | Path
    exclude: Sequence[str] = ()
    endings: frozenset[str] = PHOTOS
    used: frozenset[str] = frozenset()
    within: frozenset[str] = frozenset()
    problems: list[Failure] = field(default_factory=list)
    hidden_prefixes: list[str] = field(default_factory=list)
    unused: Unused = field(default_factory=Unused)
    tables: list[str] = field(default_factory=list)

    def __iter__(self) -> Iterator[ListedFile]:
        entered: set[str] = set()
        root = os.fspath(self.root)
        open_folders = [self._opened(root, (Exclusions(root, self.exclude),), entered)]
        while open_folders:
            folder = open_folders[-1]
            name = next(folder.names, None)
            if name is None:
                open_folders.pop()
            elif name in folder.folders:
                open_folders.append(self._opened(os.path.join(folder.path, name), folder.rules, entered))
            else:
                yield folder.file(name)

    def _opened(self, path: str, rules: tuple[Exclusions, ...], entered: set[str]) -> _Folder:
        real = os.path.realpath(path)
        if real in entered:
            return _Folder(path, iter(()), frozenset(), {}, {}, rules)
        entered.add(real)
        rules += self._ignore_file(path)
        folders, names = self._entries(path, rules)
        if self.within:
            folders = [name for name in folders if self._leads_within(os.path.join(path, name))]
            names = names if self._is_within(path) else []
        wanted = [name for name in names if _ending(name) in self.endings]
        second = second_files(wanted)
        sidecars = given_to_photos(sidecars_of(wanted, names), second)
        known = {name for own in sidecars.values() for name in own}
        texts = given_to_photos(self._texts_of(path, wanted, names, known), second)
        for name in second:
            self.unused.add(unused.PAIR, os.path.join(path, name))
        ordered = sorted([*folders, *(name for name in wanted if name not in second)], key=natural_key)
        return _Folder(path, iter(ordered), frozenset(folders), texts, sidecars, rules)

    def _is_within(self, path: str) -> bool:
        return any(path == folder or path.startswith(os.path.join(folder, "")) for folder in self.within)

    def _leads_within(self, path: str) -> bool:
        return self._is_within(path) or any(folder.startswith(os.path.join(path, "")) for folder in self.within)

    def _entries(self, folder: str, rules: tuple[Exclusions, ...]) -> tuple[list[str], list[str]]:
        """The names of the sub-folders and files of a folder, without what isn't wanted, in alphabetical order."""
        folders, names = [], []
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    is_folder = _is_folder(entry)
                    if self._is_wanted(entry.name, entry.path, is_folder, rules):
                        (folders if is_folder else names).append(entry.name)
        except OSError as error:
            shown = printable(folder)
            self.problems.append(Failure(shown, "folder_unreadable", f"{shown} can't be read ({error.strerror})."))
            self.hidden_prefixes.extend(beginnings(Path(folder)))
        return sorted(folders), sorted(names)

    def _is_wanted(self, name: str, path: str, is_folder: bool, rules: tuple[Exclusions, ...]) -> bool:
        if name == IGNORE_FILE or path in self.used:
            return False
        pattern = system_name(name) or next(filter(None, (rule.pattern_of(path, is_folder) for rule in rules)), None)
        if pattern is not None:
            self.unused.add(unused.EXCLUDED, path, printable(pattern))
        elif name.startswith("."):
            self.unused.add(unused.HIDDEN, path, "hidden")
        else:
            return True
        return False

    def _ignore_file(self, folder: str) -> tuple[Exclusions, ...]:
        """The patterns of a folder's own file, without those that are none."""
        path, usable, bad = os.path.join(folder, IGNORE_FILE), [], []
        try:
            for pattern in ignore_file_patterns(folder):
                try:
                    Exclusions(folder, [pattern])
                    usable.append(pattern)
                except BadPattern:
                    bad.append(f"{one_line(pattern)} is no pattern")
        except (OSError, ValueError) as error:
            bad.append((error.strerror if isinstance(error, OSError) else None) or one_line(str(error)))
        if bad:
            shown = printable(path)
            sentence = f"{shown}: {len(bad)} of its lines can't be used ({bad[0]}); mend it."
            self.problems.append(Failure(shown, "bad_pattern", sentence))
        return (Exclusions(folder, usable),) if usable else ()

    def _texts_of(self, folder: str, wanted: list[str], names: list[str], known: set[str]) -> dict[str, list[PairedText]]:
        """The texts of a folder's wanted files. Everything that is neither, nor `known`, is counted."""
        pairing = pair(wanted, [name for name in names if _ending(name) in TEXTS])
        for text, candidates in pairing.ambiguous.items():
            self.problems.append(ambiguous_text(os.path.join(folder, text), candidates))
        others = [name for name in names if _ending(name) not in self.endings | TEXTS and name not in known]
        stems = {folded(_stem(name)) for name in wanted} if any(map(is_motion, others)) else set()
        for name in sorted([*others, *pairing.unmatched]):
            self._count(folder, name, is_motion(name) and folded(_stem(name)) in stems)
        return pairing.of_photo

    def _count(self, folder: str, name: str, is_motion_of_photo: bool) -> None:
        """Note a file that belongs to no wanted one."""
        path, ending = os.path.join(folder, name), _ending(name)
        is_near = folder == os.fspath(self.root) or name.lower() in METADATA_TABLES or len(self.tables) < MOST_TABLES
        if is_motion_of_photo:
            self.unused.add(unused.PAIR, path)
        elif ending in SIDECARS:
            self.unused.add(unused.SIDECAR, path)
        elif ending in TABLES and is_near and len(self.tables) < 50 * MOST_TABLES:
            self.tables.append(path)
        else:
            self.unused.add(unused.NO_PHOTO if ending in TEXTS else unused.OTHER_KIND, path)


def photos_below(root: Path, exclude: Sequence[str] = ()) -> Iterator[str]:
    """The paths of the photos below a folder, without their texts."""
    return (file.path for file in FolderListing(root, exclude))


def names_below(root: Path) -> Iterator[str]:
    """The names of all files below a folder that may be wanted, in any order. It is much faster than a listing."""
    entered: set[str] = set()
    for folder, folders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in entered:
            folders.clear()
            continue
        entered.add(real)
        folders[:] = [name for name in folders if not name.startswith(".") and system_name(name) is None]
        yield from (name for name in names if not name.startswith("."))


def listed_item(file: ListedFile, listing: FolderListing) -> SourceItem:
    """A listed photo with what its texts and sidecars say of it."""
    captions = captions_beside(file.texts, listing.problems)
    if not file.sidecars:
        return SourceItem(Path(file.path), captions)
    metadata, described = read_sidecars(file.path, file.sidecars, listing.unused)
    known = {caption.text for caption in captions}
    return SourceItem(Path(file.path), [*captions, *(one for one in described if one.text not in known)], metadata)


def captions_beside(texts: Sequence[PairedText], problems: list[Failure]) -> list[SourceCaption]:
    """The captions of a photo's text files, each once, in the order of the files.

    Args:
        texts: the text files; their names are paths.
        problems: gets a failure for each file that can't be read.
    """
    captions: dict[tuple[str, str], SourceCaption] = {}
    for text in texts:
        try:
            with open(text.name, "rb") as file:
                found = text_captions(file.read(MAX_TEXT_BYTES + 1), text.language)
        except (OSError, ValueError):
            shown = printable(text.name)
            sentence = f"{shown} can't be read as UTF-8 text; save it as UTF-8 (its photo was indexed without it)."
            problems.append(Failure(shown, "caption_unreadable", sentence))
            continue
        if len(texts) == 1:
            return found
        for caption in found:
            captions.setdefault((caption.language, caption.text), caption)
    return list(captions.values())


def ambiguous_text(path: str, photos: Sequence[str]) -> Failure:
    """The problem of a text that may belong to several photos."""
    shown = printable(path)
    names = ", ".join(printable(photo) for photo in photos[:3]) + (", ..." if len(photos) > 3 else "")
    sentence = f"{shown} may belong to {len(photos)} photos ({names}) and was given to none; name it after its photo."
    return Failure(shown, "caption_ambiguous", sentence)


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


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _ending(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _stem(name: str) -> str:
    return os.path.splitext(name)[0]
