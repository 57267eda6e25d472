"""Photos that were sent to a server. They have no other file, and are kept in the collection's folder."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from storage.files import TEMPORARY, make_folder, remove, sync_folder
from storage.photo_uri import PhotoUri
from storage.segments.journal import ENDING, ImageBatch, Journal

FOLDER = "uploads"
MIN_AGE_S = 3600
"""A younger file is not removed: the index run that will name it may not have begun to write."""


CHUNK_BYTES = 1 << 20


def digest_of(file: IO[bytes]) -> str:
    """The SHA-256 of a file, in hex digits."""
    file.seek(0)
    digest = hashlib.sha256()
    while chunk := file.read(CHUNK_BYTES):
        digest.update(chunk)
    return digest.hexdigest()


class UploadStore:
    """The uploaded photos of one collection. A file's name is the SHA-256 of its content."""

    def __init__(self, collection: Path):
        """`collection` is the collection's folder."""
        self._segments = collection / "segments"
        self.folder = collection / FOLDER

    def keep(self, content: IO[bytes], ending: str) -> tuple[Path, bool]:
        """Write a photo durably.

        Args:
            content: The file, which is read from the beginning.
            ending: The ending of its format, such as ".jpg".

        Returns:
            The path of the photo, and True if it was not there before.

        Raises:
            OSError: The photo can't be written; nothing is left behind.
        """
        path = self.folder / (digest_of(content) + ending)
        if path.exists():
            os.utime(path)
            return path, False
        make_folder(self.folder)
        temporary = path.with_name(f"{TEMPORARY}{os.getpid()}-{path.name}")
        try:
            with open(temporary, "wb") as file:
                content.seek(0)
                shutil.copyfileobj(content, file, CHUNK_BYTES)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            remove(temporary)
            raise
        sync_folder(self.folder)
        return path, True

    def discard(self, path: Path) -> bool:
        """Remove a photo unless a segment, finished or not, names it. True if it was removed."""
        if self._is_named_by_any(path):
            return False
        remove(path)
        sync_folder(self.folder)
        return True

    def sweep(self, min_age_s: float = MIN_AGE_S) -> list[Path]:
        """Remove the photos that no segment names and that are older than `min_age_s` seconds.

        Call this as the collection's only writer. If a segment can't be read, nothing is removed.

        Returns:
            The paths that were removed.
        """
        old = list(self._files(time.time() - min_age_s))
        named = self._named() if old else set()
        gone = [] if named is None else [path for path in old if PhotoUri(path).uri not in named]
        for path in gone:
            remove(path)
        return gone

    def _files(self, latest: float) -> Iterator[Path]:
        """The files that were written no later than this time, in seconds since 1970."""
        for path in self.folder.glob("*"):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime <= latest:
                    yield path

    def _is_named_by_any(self, path: Path) -> bool:
        named = self._named()
        return named is None or PhotoUri(path).uri in named

    def _named(self) -> set[str] | None:
        """The uris of all images on disk: published, deleted, of an older version or of an interrupted run.

        None if a segment can't be read.
        """
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
