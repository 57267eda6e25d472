"""Photos that have no file of their own elsewhere: sent to a server, they are kept in the collection's folder."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from storage.files import TEMPORARY, make_folder, remove, sync_folder
from storage.photo_uri import PhotoUri
from storage.segments.journal import ENDING, ImageBatch, Journal

FOLDER = "uploads"
YOUNGEST_S = 3600
"""A file may lie there for so long before the index run that names it has begun to write."""


class UploadStore:
    """The uploaded photos of one collection, each under the SHA-256 of its content."""

    def __init__(self, collection: Path):
        """`collection` is the collection's folder."""
        self._segments = collection / "segments"
        self.folder = collection / FOLDER

    def keep(self, content: bytes, ending: str) -> tuple[Path, bool]:
        """Write a photo durably; its path, and whether it was not there before.

        `ending` is that of its format, such as ".jpg". Raises OSError, with nothing left behind.
        """
        path = self.folder / (hashlib.sha256(content).hexdigest() + ending)
        if path.exists():
            os.utime(path)
            return path, False
        make_folder(self.folder)
        temporary = path.with_name(f"{TEMPORARY}{os.getpid()}-{path.name}")
        try:
            with open(temporary, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            remove(temporary)
            raise
        sync_folder(self.folder)
        return path, True

    def discard(self, path: Path) -> bool:
        """Remove a photo unless a segment, finished or in the making, names it; whether it went."""
        if self._is_named_by_any(path):
            return False
        remove(path)
        sync_folder(self.folder)
        return True

    def sweep(self, youngest_s: float = YOUNGEST_S) -> list[Path]:
        """Remove the photos that no segment names and that are older than `youngest_s` seconds; their paths.

        Call this as the collection's only writer. With a segment that can't be read nothing is removed.
        """
        old = list(self._files(time.time() - youngest_s))
        named = self._named() if old else set()
        gone = [] if named is None else [path for path in old if PhotoUri(path).uri not in named]
        for path in gone:
            remove(path)
        return gone

    def _files(self, latest: float) -> Iterator[Path]:
        """Those that were written by then."""
        for path in self.folder.glob("*"):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime <= latest:
                    yield path

    def _is_named_by_any(self, path: Path) -> bool:
        named = self._named()
        return named is None or PhotoUri(path).uri in named

    def _named(self) -> set[str] | None:
        """The uris of all images on disk, be they published, deleted, of an older version or of an interrupted run; None where
        that can't be told."""
        try:
            return set(self._uris())
        except (OSError, ValueError, KeyError, pa.ArrowException):
            return None

    def _uris(self) -> Iterator[str]:
        for path in self._segments.glob("*"):
            if path.name.endswith(ENDING):
                with suppress(FileNotFoundError):
                    batches = Journal(path).batches()
                    yield from (image.uri for batch in batches if isinstance(batch, ImageBatch) for image in batch.images)
            elif not path.name.startswith(TEMPORARY):
                yield from pq.read_table(path / "images.parquet", columns=["uri"])["uri"].to_pylist()
