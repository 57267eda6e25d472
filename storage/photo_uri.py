"""The URI of a photo, which is a file, a member of a tar file or in a Parquet file, and reading a photo by it."""

from __future__ import annotations

import os
import re
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast
from urllib.parse import unquote_to_bytes

from storage.parquet_photos import ENDING, Cell, cell_exists, read_cell

FILE, TAR, PARQUET = "file://", "tar://", "parquet://"
CACHED_TARS = 64
MOST_LINKS = 40
Part = tuple[int, int] | Cell
"""Where a photo is in its file: the offset and number of its bytes in a tar, or its cell in a Parquet file."""


@dataclass(frozen=True)
class PhotoUri:
    """The address of a photo.

    Attributes:
        path: The absolute path of the file; it may hold bytes that aren't UTF-8, as `os.fsdecode` gives them.
        member: The photo's name in a tar file, or its `Cell` in a Parquet file as text; None for a file of its own.
    """

    path: Path
    member: str | None = None

    @property
    def uri(self) -> str:
        """The address as UTF-8 text; different photos have different texts.

        It is `/a/1.jpg`; `file:///a/%FF.jpg` if the name is not UTF-8; `tar:///a/1.tar!b.jpg` in a tar;
        `parquet:///a/1.parquet!0/12/image` in a Parquet file. In the latter three, `%`, `!` and bytes that aren't UTF-8 are
        written as %XX.
        """
        if self.member is not None:
            return f"{PARQUET if self._in_parquet else TAR}{_escaped(str(self.path))}!{_escaped(self.member)}"
        name = str(self.path)
        return FILE + _escaped(name) if _is_odd(name) else name

    @classmethod
    def at(cls, uri: str) -> PhotoUri:
        """Parse a text that `uri` made."""
        for scheme in (TAR, PARQUET):
            if uri.startswith(scheme):
                path, _, member = uri.removeprefix(scheme).partition("!")
                return cls(Path(_unescaped(path)), _unescaped(member))
        return cls(Path(_unescaped(uri.removeprefix(FILE)) if uri.startswith(FILE) else uri))

    @property
    def _in_parquet(self) -> bool:
        return self.path.suffix.lower() == ENDING

    def state(self) -> tuple[int | None, int]:
        """The photo's size in bytes, None if only reading it would tell, and its file's time of change in ns.

        Raises:
            OSError: The photo isn't there or can't be read.
        """
        status, part = os.stat(self.path), self.part()
        size = status.st_size if part is None else None if isinstance(part, Cell) else part[1]
        return size, status.st_mtime_ns

    def exists(self) -> bool:
        """True if the photo is there, even if it can't be read."""
        if self.member is None:
            return os.path.lexists(self.path)
        try:
            self.part()
            return True
        except FileNotFoundError:
            return False
        except (OSError, tarfile.TarError):
            return os.path.lexists(self.path)

    def part(self) -> Part | None:
        """Where the photo is in its file; None for a photo that is a file of its own.

        Raises:
            OSError: The photo isn't there or can't be read.
        """
        if self.member is None:
            return None
        if self._in_parquet:
            cell = Cell.at(self.member)
            if not cell_exists(self.path, cell):
                raise FileNotFoundError(2, "no such row", self.uri)
            return cell
        try:
            return tar_listing(self.path).members[self.member]
        except (KeyError, tarfile.TarError) as error:
            raise FileNotFoundError(2, "no such member", self.uri) from error

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Open the photo's bytes as a file that can seek.

        Raises:
            OSError: The photo isn't there or can't be read.
        """
        part = self.part()
        if part is None:
            with open(self.path, "rb") as file:
                yield file
        else:
            yield BytesIO(read_part(self.path, part))


def read_part(path: str | Path, part: Part) -> bytes:
    """Read a photo that is in a tar or Parquet file.

    Raises:
        OSError: It isn't there or can't be read.
    """
    if isinstance(part, Cell):
        return read_cell(path, part)
    offset, size = part
    with open(path, "rb") as file:
        file.seek(offset)
        return file.read(size)


def beginnings(folder: Path) -> list[str]:
    """The prefixes that the URIs of all files below a folder have: each has one of them."""
    name = os.path.join(folder, "")
    escaped = FILE + _escaped(name)
    return [escaped] if _is_odd(name) else [name, escaped]


class TarListing(NamedTuple):
    """What a tar holds.

    Attributes:
        members: The offset and size of every file, by name, in the order of the tar. If a name comes twice, the last one
            counts. A link to a file of the tar is where that file is.
        unreadable: The names of what is no file that lies in the tar in one piece, and what it is.
        damaged: True if the tar is cut short, or goes on with something else. Then the files before the damage are given.
    """

    members: dict[str, tuple[int, int]]
    unreadable: dict[str, str]
    damaged: bool


def tar_listing(shard: Path) -> TarListing:
    """List a tar.

    Raises:
        OSError: The tar can't be read.
        tarfile.ReadError: The file is no tar.
    """
    status = os.stat(shard)
    return _tar_listing(shard, status.st_size, status.st_mtime_ns)


@lru_cache(CACHED_TARS)
def _tar_listing(shard: Path, size: int, mtime_ns: int) -> TarListing:
    found: dict[str, tuple[int, int]] = {}
    odd: dict[str, str] = {}
    links: dict[str, str] = {}
    with open(shard, "rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
        try:
            while (member := tar.next()) is not None:
                cast(Any, tar).members.clear()  # or tarfile remembers each of them, with all its attributes
                for names in (found, odd, links):
                    names.pop(member.name, None)
                if member.isreg() and not member.issparse():
                    found[member.name] = (member.offset_data, member.size)
                elif member.islnk() and member.linkname in found:
                    found[member.name] = found[member.linkname]
                elif member.issym():
                    links[member.name] = member.linkname
                elif not member.isdir():
                    odd[member.name] = _described(member)
            file.seek(tar.offset)
            damaged = file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE)  # a whole tar ends in zeros
        except (tarfile.TarError, ValueError, OverflowError):
            damaged = True
    _resolve(links, found, odd)
    whole = {name: span for name, span in found.items() if sum(span) <= size}
    return TarListing(whole, odd, damaged or len(whole) < len(found))


def _resolve(links: dict[str, str], found: dict[str, tuple[int, int]], odd: dict[str, str]) -> None:
    """Put each symbolic link where its file is; without one, it is odd."""
    plain = {os.path.normpath(name): name for name in (*found, *links)} if links else {}
    for name in links:
        target = name
        for _ in range(MOST_LINKS):
            if target not in links:
                break
            path = os.path.normpath(os.path.join(os.path.dirname(target), links[target]))
            target = plain.get(path, path)
        if target in found:
            found[name] = found[target]
        else:
            odd[name] = f"it is a link to {links[name]!r}, which is no file in the tar"


def _described(member: tarfile.TarInfo) -> str:
    if member.issparse():
        return "it is a sparse file"
    return f"it is a link to {member.linkname!r}, which is not before it" if member.islnk() else "it is no file"


def _is_odd(name: str) -> bool:
    return any("\udc80" <= character <= "\udcff" for character in name)


def _escaped(name: str) -> str:
    return re.sub("[%!\udc80-\udcff]", lambda match: "".join(f"%{byte:02X}" for byte in os.fsencode(match[0])), name)


def _unescaped(text: str) -> str:
    return os.fsdecode(unquote_to_bytes(text))
