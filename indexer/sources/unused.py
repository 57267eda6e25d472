"""What a source holds and is not used, counted."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from indexer.items import printable

OTHER_KIND, EXCLUDED, HIDDEN, SIDECAR = "other_kind", "excluded", "hidden", "sidecar"
CAPTION_OF_NO_PHOTO = "caption_of_no_photo"
NO_PHOTO, CAPTIONS, NOT_LISTED, PAIR, NOT_THERE = "text_of_no_photo", "captions_not_read", "not_listed", "pair", "not_there"
ENDING = re.compile(r"\.[A-Za-z0-9_]{1,10}")
MOST_KINDS = 40
MOST_NAMED = 5
OTHERS = "others"


@dataclass
class UnusedFiles:
    """Files that were not used for the same reason.

    Attributes:
        why: a code, such as "other_kind".
        kind: of the files, such as "HEIC"; the file's path if it is named by itself.
        count: how many there are.
        example: the path of the first.
    """

    why: str
    kind: str
    count: int
    example: str


class Unused:
    """Counts what is not used, by reason and kind. It takes the same memory for any number of files."""

    def __init__(self, counts: Iterable[UnusedFiles] = ()):
        self._counts = {(one.why, one.kind): one for one in counts}

    def add(self, why: str, path: str | os.PathLike[str], kind: str | None = None, count: int = 1) -> None:
        """Count a file, or a folder that was not entered.

        Args:
            why: one of the codes of this module.
            path: the file.
            kind: None takes the file's ending.
            count: how many are counted.
        """
        kind = kind_of(path) if kind is None else kind
        if len(self._counts) >= MOST_KINDS and (why, kind) not in self._counts:
            kind = OTHERS
        counted = self._counts.setdefault((why, kind), UnusedFiles(why, kind, 0, printable(path)))
        counted.count += count

    def extend(self, other: Unused) -> None:
        """Add what another one counted."""
        for one in other:
            known = self._counts.setdefault((one.why, one.kind), UnusedFiles(one.why, one.kind, 0, one.example))
            known.count += one.count

    def summary(self) -> str:
        """The most frequent kinds in a few words, such as "HEIC 5, MOV 4"."""
        ordered = sorted(self, key=lambda one: -one.count)
        return ", ".join(f"{one.kind} {one.count}" for one in ordered[:MOST_NAMED])

    def __iter__(self) -> Iterator[UnusedFiles]:
        return iter(self._counts.values())

    def __bool__(self) -> bool:
        return bool(self._counts)

    def as_json(self) -> list[dict[str, str | int]]:
        """The counts as JSON values, the most frequent first within each reason."""
        ordered = sorted(self, key=lambda one: (one.why, -one.count, one.kind))
        return [{"why": one.why, "kind": one.kind, "count": one.count, "example": one.example} for one in ordered]


def kind_of(path: str | os.PathLike[str]) -> str:
    """What people call a file by its name: "HEIC", or "no ending"."""
    ending = os.path.splitext(os.fspath(path))[1]
    return ending[1:].upper() if ENDING.fullmatch(ending) else "no ending"
