"""A summary of the served collection: its contents, and its history in the catalog."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from storage import FileRecord, RunRecord, VersionRecord
from storage.catalog.catalog import RUNNING, STARTING
from storage.errors import EmptyCollection, UnknownCollection
from storage.sources import counts_by_source

if TYPE_CHECKING:
    from web.service import SearchService

MOST_FAILURES = 100
MOST_RUNS = 10
_EMPTY = np.zeros(0, np.int64)


@dataclass(frozen=True, eq=False)
class CollectionSummary:
    """The contents and the history of a collection.

    Attributes:
        version: The published version; 0: nothing is published.
        fingerprint: The fingerprint of the weights that made the index.
        widths: Widths of the photos in pixels, int [images].
        heights: Heights of the photos in pixels, int [images].
        versions: The published versions, newest first.
        runs: The last index runs, newest first.
        failures: The files that could not be read.
        sources: The paths that it was built from.
        held: How many images and captions came from each path, those of photos added one by one included.
        generated: How many of the captions a model wrote.
    """

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
    held: dict[str, tuple[int, int]] = field(default_factory=dict)
    generated: int = 0

    @classmethod
    def of(cls, service: SearchService) -> CollectionSummary:
        """Read the summary of the collection that is searched.

        Raises:
            CatalogError: The catalog can't be read.
            StorageError: The collection is damaged.
        """
        name, catalog = service.collection_name, service.home.catalog
        history = catalog.versions(name), catalog.runs(name, MOST_RUNS), catalog.failures(name), list(catalog.sources(name))
        try:
            snapshot = service.snapshot()
        except (EmptyCollection, UnknownCollection):
            return cls(name, 0, 0, 0, {}, None, _EMPTY, _EMPTY, *history)
        table = snapshot.image_table()
        widths, heights = (table[side].to_numpy() for side in ("width", "height"))
        languages = {code: len(snapshot.caption_ids(code)) for code in snapshot.languages}
        return cls(name, snapshot.version, snapshot.image_count, snapshot.caption_count, languages,
                   snapshot.model_fingerprint, widths, heights, *history, counts_by_source(snapshot),
                   snapshot.generated_count)  # fmt: skip

    @property
    def sources_shown(self) -> list[tuple[str, tuple[int, int], bool]]:
        """Each source with its counts of images and captions, and whether it can be built again."""
        shown = sorted({*self.sources, *self.held})
        return [(source, self.held.get(source, (0, 0)), source in self.sources) for source in shown]

    @property
    def building(self) -> list[RunRecord]:
        """The runs that go on, as far as the catalog knows."""
        return [run for run in self.runs if run.state in (STARTING, RUNNING)]

    @property
    def failures_shown(self) -> list[FileRecord]:
        """The first failures, as many as the page shows."""
        return self.failures[:MOST_FAILURES]


def progress(run: RunRecord) -> float:
    """The share of a run's photos that are done, 0 to 1."""
    return min(run.done / run.total, 1.0) if run.total else 0.0


def seconds_left(run: RunRecord, now: datetime) -> int | None:
    """Seconds until a run ends, at the pace so far; None if that can't be told."""
    if run.state != RUNNING or not run.done:
        return None
    elapsed = (now - datetime.fromisoformat(run.started_at)).total_seconds()
    return round(max(elapsed, 0.0) * max(run.total - run.done, 0) / run.done)
