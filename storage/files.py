"""Files and folders that survive a power cut once they are written, and memory of mapped files."""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import shutil
from pathlib import Path

import numpy as np

TEMPORARY = ".tmp-"


def sync_file(path: Path) -> None:
    """Wait until a file's bytes are on the disk."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Wait until the names in a folder are on the disk. A system that can't open a folder needs no such call."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except PermissionError:  # Windows
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Wait until all files directly in a folder, and the folder itself, are on the disk."""
    for path in sorted(folder.iterdir()):
        sync_file(path)
    sync_folder(folder)


def move_into_place(temporary: Path, final: Path) -> None:
    """Give a finished folder its final name, durably."""
    sync_tree(temporary)
    os.rename(temporary, final)
    sync_folder(final.parent)


def replace_json(path: Path, content: dict) -> None:
    """Replace a JSON file in one instant: readers see the old or the new content, never a part."""
    temporary = path.with_name(TEMPORARY + path.name)
    temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    sync_file(temporary)
    os.replace(temporary, path)
    sync_folder(path.parent)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hex digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def make_folder(path: Path) -> None:
    """Make a folder and its parents, durably."""
    missing = [folder for folder in [path, *path.parents] if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in reversed(missing):
        sync_folder(folder.parent)


def remove(path: Path) -> None:
    """Remove a file, or a folder with everything in it. A missing one is fine."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def give_back(array: np.ndarray) -> None:
    """Return the memory of a mapped file's array to the system; what is needed later is read again.

    An array that is not mapped is left alone.
    """
    file = getattr(array, "_mmap", None)
    if file is not None and hasattr(mmap, "MADV_DONTNEED"):
        file.madvise(mmap.MADV_DONTNEED)
