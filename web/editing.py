"""What changes a collection from within a server. Whoever makes the application gives it, for it takes rooms that this one may
not enter: the indexer, and the command line."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class SentPhoto:
    """A photo that can be decoded: its file, how that file's name should end, and sentences about it in `language` (None: told
    by their script)."""

    content: bytes = field(repr=False)
    ending: str
    captions: list[str]
    language: str | None = None


@dataclass(frozen=True)
class AddedPhoto:
    """A photo of the published `version`; `existed` where the collection had its content before."""

    image_id: int
    version: int
    existed: bool


class Builds(Protocol):
    """Index runs in processes of their own, one at a time."""

    def start(self, collection: str, source: str) -> int:
        """Begin to build again from a source, as `build-index` was last run on it; the run's id, which the catalog knows.

        Raises UnknownSource, UnknownCollection, BuildRunning or CollectionBusy.
        """

    def cancel(self, collection: str, run_id: int) -> None:
        """Ask a run to end; it does so soon. Raises UnknownRun, BuildEnded or NotOurBuild."""

    def is_running(self, run_id: int) -> bool:
        """Whether it goes on, and can be cancelled."""

    def problem(self, run_id: int) -> str | None:
        """Why the last run ended before its time, in one line."""


class Editor(Protocol):
    """`builds`, and photos one by one."""

    builds: Builds

    def add(self, collection: str, photo: SentPhoto, encoder) -> AddedPhoto:
        """Publish a version that has the photo. Of one that is there already, captions that are new are added.

        Raises NotAdded, and what writing to a collection raises: CollectionBusy, OtherWeights, UnusableHome and others.
        """
