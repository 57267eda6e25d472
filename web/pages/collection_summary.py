"""What the served collection holds, and its history in the catalog."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np

from storage import FileRecord, RunRecord, VersionRecord
from storage.catalog.catalog import RUNNING, STARTING
from storage.errors import EmptyCollection, UnknownCollection

MOST_FAILURES = 100
MOST_RUNS = 10
_NOTHING = np.zeros(0, np.int64)


@dataclass(frozen=True, eq=False)
class CollectionSummary:
    """Version 0 where nothing is published. `widths` and `heights` are pixels, int [images]; histories newest first; `sources`
    are the paths that it was built from."""

    collection: str
    version: int
    images: int
    captions: int
    captions_by_language: dict[str, int]
    fingerprint: str | None
    widths: np.ndarray
    heights: np.ndarray
    versions: list[VersionRecord]
    runs: list[RunRecord]
    failures: list[FileRecord]
    sources: list[str]

    @classmethod
    def of(cls, service) -> CollectionSummary:
        """Raises CatalogError, and what opening a damaged collection raises."""
        name, catalog = service.collection_name, service.home.catalog
        history = catalog.versions(name), catalog.runs(name, MOST_RUNS), catalog.failures(name), list(catalog.sources(name))
        try:
            snapshot = service.snapshot()
        except (EmptyCollection, UnknownCollection):
            return cls(name, 0, 0, 0, {}, None, _NOTHING, _NOTHING, *history)
        table = snapshot.image_table()
        widths, heights = (table[side].to_numpy() for side in ("width", "height"))
        languages = {code: len(snapshot.caption_ids(code)) for code in snapshot.languages}
        return cls(name, snapshot.version, snapshot.image_count, snapshot.caption_count, languages,
                   snapshot.model_fingerprint, widths, heights, *history)  # fmt: skip

    @property
    def building(self) -> list[RunRecord]:
        """The runs that are under way, as far as the catalog knows."""
        return [run for run in self.runs if run.state in (STARTING, RUNNING)]

    @property
    def failures_shown(self) -> list[FileRecord]:
        """The first of the failures."""
        return self.failures[:MOST_FAILURES]


def progress(run: RunRecord) -> float:
    """How far a run is, 0 to 1."""
    return min(run.done / run.total, 1.0) if run.total else 0.0


def seconds_left(run: RunRecord, now: datetime) -> int | None:
    """How long a run will go on if it goes on as it did; None where that can't be told."""
    if run.state != RUNNING or not run.done:
        return None
    gone = (now - datetime.fromisoformat(run.started_at)).total_seconds()
    return round(max(gone, 0.0) * max(run.total - run.done, 0) / run.done)
