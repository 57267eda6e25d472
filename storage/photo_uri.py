"""Where a photo is: a file, or a member of a tar file; the text that says so, and reading by it."""

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
from typing import BinaryIO
from urllib.parse import unquote_to_bytes

FILE, TAR = "file://", "tar://"
SHARDS_REMEMBERED = 64


@dataclass(frozen=True)
class PhotoUri:
    """`path` is absolute and may hold bytes that aren't UTF-8, as the system gives them; `member` is a name in a tar."""

    path: Path
    member: str | None = None

    @property
    def uri(self) -> str:
        """As UTF-8 text, one for each place: `/a/1.jpg`; `file:///a/%FF.jpg` where the name is no UTF-8;
        `tar:///a/1.tar!b.jpg`. In the latter two, `%`, `!` and bytes that aren't UTF-8 are written as %XX."""
        if self.member is not None:
            return f"{TAR}{_escaped(str(self.path))}!{_escaped(self.member)}"
        name = str(self.path)
        return FILE + _escaped(name) if _is_odd(name) else name

    @classmethod
    def at(cls, uri: str) -> PhotoUri:
        """The place that a uri names."""
        if uri.startswith(TAR):
            path, _, member = uri.removeprefix(TAR).partition("!")
            return cls(Path(_unescaped(path)), _unescaped(member))
        return cls(Path(_unescaped(uri.removeprefix(FILE)) if uri.startswith(FILE) else uri))

    def state(self) -> tuple[int, int]:
        """The photo's size in bytes and its file's time of change in ns. Raises OSError."""
        status = os.stat(self.path)
        return status.st_size if self.member is None else self.span()[1], status.st_mtime_ns

    def exists(self) -> bool:
        """Whether it is there, be it readable or not."""
        if self.member is None:
            return os.path.lexists(self.path)
        try:
            return self.member in members(self.path)
        except (OSError, tarfile.TarError):
            return os.path.lexists(self.path)

    def span(self) -> tuple[int, int] | None:
        """Where in its file the photo's bytes begin, and how many they are; None for a whole file. Raises OSError."""
        if self.member is None:
            return None
        try:
            return members(self.path)[self.member]
        except (KeyError, tarfile.TarError) as error:
            raise FileNotFoundError(2, "no such member", self.uri) from error

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """The photo's bytes as a file that can seek. Raises OSError."""
        span = self.span()
        with open(self.path, "rb") as file:
            if span is None:
                yield file
            else:
                file.seek(span[0])
                yield BytesIO(file.read(span[1]))


def beginnings(folder: Path) -> list[str]:
    """How the uris of all files below a folder begin."""
    name = os.path.join(folder, "")
    escaped = FILE + _escaped(name)
    return [escaped] if _is_odd(name) else [name, escaped]


def members(shard: Path) -> dict[str, tuple[int, int]]:
    """Offset and size of every file in a tar, by name, in the order of the tar; of a name that comes twice the last.

    What stands before damage is given. Raises OSError, or tarfile.ReadError for what is no tar from the start.
    """
    status = os.stat(shard)
    return _members(shard, status.st_size, status.st_mtime_ns)[0]


def is_damaged(shard: Path) -> bool:
    """Whether a tar ends before its end, or in something else. Raises as `members`."""
    status = os.stat(shard)
    return _members(shard, status.st_size, status.st_mtime_ns)[1]


@lru_cache(SHARDS_REMEMBERED)
def _members(shard: Path, size: int, mtime_ns: int) -> tuple[dict[str, tuple[int, int]], bool]:
    found = {}
    with tarfile.open(shard, "r:") as tar:
        try:
            while (member := tar.next()) is not None:
                tar.members.clear()  # or tarfile remembers each of them, with all its attributes
                if member.isreg() and not member.issparse():
                    found.pop(member.name, None)
                    found[member.name] = (member.offset_data, member.size)
            tar.fileobj.seek(tar.offset)
            damaged = tar.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE)  # a whole tar ends in zeros
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
