"""Folders that can't be written, in the ways that a system has."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

NOBODY = 65534
_MOUNTED = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'
NO_MOUNTS = "this system lets a test mount nothing (unshare)"


def mounted_read_only(folder: Path) -> list[str]:
    """The beginning of a command line: the command that follows sees the folder as mounted for reading only."""
    return ["unshare", "--map-root-user", "--mount", "sh", "-c", _MOUNTED, str(folder)]


@cache
def can_mount() -> bool:
    """Whether this system lets a test mount a folder for reading only."""
    if shutil.which("unshare") is None:
        return False
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([*mounted_read_only(Path(folder)), "touch", f"{folder}/new"], capture_output=True, text=True)
        return done.returncode != 0 and "Read-only file system" in done.stderr


@contextmanager
def by_another_owner(folder: Path, files: int = 0o444, folders: int = 0o555) -> Iterator[None]:
    """Give what lies below the folder these modes; this process is for that time nobody, if it is root."""
    paths = [folder, *folder.rglob("*")]
    before = {path: path.stat().st_mode for path in paths}
    for path in paths:
        path.chmod(folders if path.is_dir() else files)
    root = os.geteuid() == 0
    try:
        if root:
            os.seteuid(NOBODY)
        yield
    finally:
        if root:
            os.seteuid(0)
        for path, mode in before.items():
            path.chmod(mode)


@contextmanager
def open_folder() -> Iterator[Path]:
    """A temporary folder that every user can reach, as pytest's own are not."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)
