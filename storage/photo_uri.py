"""The URI of a photo, which is a file or a member of a tar file, and reading a photo by it."""

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
from typing import Any, BinaryIO, cast
from urllib.parse import unquote_to_bytes

FILE, TAR = "file://", "tar://"
CACHED_TARS = 64


@dataclass(frozen=True)
class PhotoUri:
    """The address of a photo.

    Attributes:
        path: The absolute path of the file; it may hold bytes that aren't UTF-8, as `os.fsdecode` gives them.
        member: The photo's name in a tar file; None for a file of its own.
    """

    path: Path
    member: str | None = None

    @property
    def uri(self) -> str:
        """The address as UTF-8 text; different photos have different texts.

        It is `/a/1.jpg`; `file:///a/%FF.jpg` if the name is not UTF-8; `tar:///a/1.tar!b.jpg` in a tar. In the latter two,
        `%`, `!` and bytes that aren't UTF-8 are written as %XX.
        """
        if self.member is not None:
            return f"{TAR}{_escaped(str(self.path))}!{_escaped(self.member)}"
        name = str(self.path)
        return FILE + _escaped(name) if _is_odd(name) else name

    @classmethod
    def at(cls, uri: str) -> PhotoUri:
        """Parse a text that `uri` made."""
        if uri.startswith(TAR):
            path, _, member = uri.removeprefix(TAR).partition("!")
            return cls(Path(_unescaped(path)), _unescaped(member))
        return cls(Path(_unescaped(uri.removeprefix(FILE)) if uri.startswith(FILE) else uri))

    def state(self) -> tuple[int, int]:
        """The photo's size in bytes and its file's time of change in ns.

        Raises:
            OSError: The photo isn't there or can't be read.
        """
        status, span = os.stat(self.path), self.span()
        return status.st_size if span is None else span[1], status.st_mtime_ns

    def exists(self) -> bool:
        """True if the photo is there, even if it can't be read."""
        if self.member is None:
            return os.path.lexists(self.path)
        try:
            return self.member in members(self.path)
        except (OSError, tarfile.TarError):
            return os.path.lexists(self.path)

    def span(self) -> tuple[int, int] | None:
        """The offset of the photo's bytes in the tar file, and their number; None for a photo that is a file of its own.

        Raises:
            OSError: The photo isn't there or can't be read.
        """
        if self.member is None:
            return None
        try:
            return members(self.path)[self.member]
        except (KeyError, tarfile.TarError) as error:
            raise FileNotFoundError(2, "no such member", self.uri) from error

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Open the photo's bytes as a file that can seek.

        Raises:
            OSError: The photo isn't there or can't be read.
        """
        span = self.span()
        with open(self.path, "rb") as file:
            if span is None:
                yield file
            else:
                file.seek(span[0])
                yield BytesIO(file.read(span[1]))


def beginnings(folder: Path) -> list[str]:
    """The prefixes that the URIs of all files below a folder have: each has one of them."""
    name = os.path.join(folder, "")
    escaped = FILE + _escaped(name)
    return [escaped] if _is_odd(name) else [name, escaped]


def members(shard: Path) -> dict[str, tuple[int, int]]:
    """The offset and size of every file in a tar, by name, in the order of the tar.

    If a name comes twice, the last one counts. Of a damaged tar, the files before the damage are given.

    Raises:
        OSError: The tar can't be read.
        tarfile.ReadError: The file is no tar.
    """
    status = os.stat(shard)
    return _members(shard, status.st_size, status.st_mtime_ns)[0]


def is_damaged(shard: Path) -> bool:
    """True if a tar is cut short, or goes on with something else. Raises what `members` raises."""
    status = os.stat(shard)
    return _members(shard, status.st_size, status.st_mtime_ns)[1]


@lru_cache(CACHED_TARS)
def _members(shard: Path, size: int, mtime_ns: int) -> tuple[dict[str, tuple[int, int]], bool]:
    found = {}
    with open(shard, "rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
        try:
            while (member := tar.next()) is not None:
                cast(Any, tar).members.clear()  # or tarfile remembers each of them, with all its attributes
                if member.isreg() and not member.issparse():
                    found.pop(member.name, None)
                    found[member.name] = (member.offset_data, member.size)
            file.seek(tar.offset)
            damaged = file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE)  # a whole tar ends in zeros
        except tarfile.TarError:
            damaged = True
    whole = {name: span for name, span in found.items() if sum(span) <= size}
    return whole, damaged or len(whole) < len(found)


def _is_odd(name: str) -> bool:
    return any("\udc80" <= character <= "\udcff" for character in name)


def _escaped(name: str) -> str:
    return re.sub("[%!\udc80-\udcff]", lambda match: "".join(f"%{byte:02X}" for byte in os.fsencode(match[0])), name)


def _unescaped(text: str) -> str:
    return os.fsdecode(unquote_to_bytes(text))
