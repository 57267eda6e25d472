"""What isn't wanted below a folder: names that systems make for themselves, and the user's own patterns."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from pathspec import GitIgnoreSpec

from indexer.errors import BadPattern
from indexer.sources.text_files import decoded_text

IGNORE_FILE = ".panoptesignore"
SYSTEM_NAMES = (
    "@eadir", "@tmp", "@recycle", "#recycle", "#snapshot", "$recycle.bin", "system volume information", "__macosx",
    "lost+found", ".thumbnails", ".@__thumb", "thumbs.db", "ehthumbs.db", "desktop.ini", ".ds_store", ".directory",
)  # fmt: skip
"""Names that are left out everywhere, in lower case: trash, thumbnails and notes of NAS systems, Windows and macOS."""
SYSTEM_PREFIX = ".trash"


class Exclusions:
    """Patterns in gitignore's syntax, relative to a folder."""

    def __init__(self, folder: str | Path, patterns: Sequence[str]):
        """Compile the patterns.

        Raises:
            BadPattern: one has a syntax error.
        """
        self._folder, self._spec = os.path.join(folder, ""), _compiled(patterns)

    def __bool__(self) -> bool:
        return self._spec is not None

    def pattern_of(self, path: str, is_folder: bool = False) -> str | None:
        """The pattern that excludes a path; None if it isn't excluded. A path that is not below the folder is as it is."""
        if self._spec is None:
            return None
        result = self._spec.check_file(path.removeprefix(self._folder).lstrip("/") + ("/" if is_folder else ""))
        if not result.include or result.index is None:
            return None
        return str(getattr(self._spec.patterns[result.index], "pattern", "")) or "a pattern"


def system_name(name: str) -> str | None:
    """The name if a system made the file or folder for itself, else None."""
    lowered = name.lower()
    return name if lowered in SYSTEM_NAMES or lowered.startswith(SYSTEM_PREFIX) else None


def ignore_file_patterns(folder: str) -> list[str]:
    """The patterns of a folder's `.panoptesignore`; empty if it has none.

    Raises:
        OSError: it can't be read.
        UnicodeDecodeError: it is no text.
    """
    try:
        content = Path(folder, IGNORE_FILE).read_bytes()
    except FileNotFoundError:
        return []
    return decoded_text(content).splitlines()


def _compiled(patterns: Sequence[str]) -> GitIgnoreSpec | None:
    for pattern in patterns:
        try:
            GitIgnoreSpec.from_lines([pattern])
        except ValueError as error:
            raise BadPattern(pattern) from error
    return GitIgnoreSpec.from_lines(patterns) if patterns else None
