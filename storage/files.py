"""Writing so that what was written is there after a power cut, and reading it back."""

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
    """Wait until the file's bytes are on the disk."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Wait until the names in the folder are on the disk; systems that can't open a folder need no such call."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except PermissionError:  # Windows
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Wait until every file directly in the folder, and the folder itself, are on the disk."""
    for path in sorted(folder.iterdir()):
        sync_file(path)
    sync_folder(folder)


def move_into_place(temporary: Path, final: Path) -> None:
    """Give a finished folder its final name, durably."""
    sync_tree(temporary)
    os.rename(temporary, final)
    sync_folder(final.parent)


def replace_json(path: Path, content: dict) -> None:
    """Swap a JSON file in one instant: readers see the old or the new content, never a part."""
    temporary = path.with_name(TEMPORARY + path.name)
    temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    sync_file(temporary)
    os.replace(temporary, path)
    sync_folder(path.parent)


def sha256_of(path: Path) -> str:
    """The file's SHA-256 in hex digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def make_folder(path: Path) -> None:
    """Make a folder and its parents, each durably named in its own parent."""
    missing = [folder for folder in [path, *path.parents] if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in reversed(missing):
        sync_folder(folder.parent)


def remove(path: Path) -> None:
    """Remove a file or a folder with all in it; what is already gone is fine."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def give_back(array: np.ndarray) -> None:
    """Let the system have the memory that a mapped file's array takes; what is asked for again is read again. Another array is
    left alone."""
    file = getattr(array, "_mmap", None)
    if file is not None and hasattr(mmap, "MADV_DONTNEED"):
        file.madvise(mmap.MADV_DONTNEED)
