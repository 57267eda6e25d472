"""From a source to a published version of a collection."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from encoder.inputs.image_inputs import features_in, files_of
from indexer.cpu_scheduling import CpuTurns
from indexer.errors import MostVanished
from indexer.items import Failure, one_line
from indexer.model_check import check_model
from indexer.photo_loader import MISSING, FileState, Job
from indexer.photo_pool import PhotoReader, Result, default_workers
from indexer.plan import Plan
from indexer.segment_filler import SegmentFiller
from indexer.sources.base import Source
from indexer.work import Work, Works
from storage.catalog.catalog import DONE, FAILED, INDEXED, INTERRUPTED, FileRecord
from storage.collection import Collection
from storage.errors import CatalogError, unusable
from storage.home import Home
from storage.maintenance import version_record
from storage.segments.segment_set import SegmentSet
from storage.vector_index.selection import IndexBudget
from storage.writer import Writer

RECORDS_AT_ONCE = 256
GUARD, KEEP, DROP = "guard", "keep", "drop"


class Progress(Protocol):
    """Told how far a run is: `stage` is "photos" or "publish", `done` counts up to `total`."""

    def __call__(self, stage: str, done: int, total: int) -> None: ...


@dataclass(frozen=True)
class BuildSummary:
    """What a run did. `images` and `captions` are what the collection holds now.

    `added` images became visible with this run; of them, `replaced` took the place of a photo or captions that had
    changed and `resumed` were encoded by an earlier run that did not end. `unchanged` were there already, as they are.
    `removed` images went, for the source has them no more.
    `images_per_second` counts the photos encoded by this run, over its whole time in `seconds`.
    """

    images: int
    captions: int
    added: int
    unchanged: int
    failures: list[Failure]
    seconds: float
    images_per_second: float
    version: int
    replaced: int = 0
    resumed: int = 0
    removed: int = 0


def build_index(
    home: Home,
    name: str,
    source: Source,
    encoder,
    limit: int | None = None,
    rebuild: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
    missing: str = GUARD,
    partial: bool = False,
    budget: IndexBudget | None = None,
    announced: int | None = None,
) -> BuildSummary:
    """Bring the collection up to what the source (its first `limit` photos) has now, and publish.

    Photos that cannot be read are recorded and listed in the summary; the run goes on. It can be killed at any
    instant: the published version stays as it is, and the next run continues with what was finished. With `rebuild`
    everything is encoded anew, also what came from other sources, and replaces what was there in one instant.
    `workers` is how many processes decode (0: this one decodes; None: as `default_workers` says). `budget` says what a search
    may cost before an approximate index is tried (None: as in the version before). `announced` is the run's id where
    `Catalog.announce_run` has given it one.

    Images of this source that it has no more are removed; `missing` is "guard" to refuse where these are more than half,
    "drop" to remove them all the same, "keep" to remove none. With a `limit`, or a source that is only a `partial` list,
    none is missed.

    Raises WrongModel, MostVanished, CollectionBusy, OtherWeights, BrokenManifest, BrokenSegment, CatalogError or
    UnusableHome.
    """
    check_model(source, encoder.config.inputs)
    collection = home.create_collection(name)
    try:
        with collection.writer(encoder.fingerprint, rebuild) as writer:
            writer.budget = budget
            build = _Build(home, collection, writer, source, encoder, progress)
            return build.run(limit, rebuild, workers, missing, partial or limit is not None, announced)
    except OSError as error:
        raise unusable(home.path, error) from error


class _Build:
    """One run."""

    def __init__(
        self,
        home: Home,
        collection: Collection,
        writer: Writer,
        source: Source,
        encoder,
        progress: Progress | None,
    ):
        self._catalog, self._collection, self._writer = home.catalog, collection, writer
        self._source, self._encoder = source, encoder
        self._progress = progress or (lambda stage, done, total: None)
        on_cpu = getattr(encoder, "device", "CPU") == "CPU"
        self._turns = CpuTurns() if on_cpu and getattr(encoder, "devices", 1) == 1 else None
        self._beside_encoder = on_cpu and self._turns is None
        self._filler = SegmentFiller(writer, encoder, self._turns)
        self._failures: list[Failure] = []
        self._under_way: deque[Work] = deque()
        self._records: list[FileRecord] = []
        self._done = self._unchanged = 0

    def run(
        self, limit: int | None, rebuild: bool, workers: int | None, missing: str, partial: bool, announced: int | None
    ) -> BuildSummary:
        started = time.perf_counter()
        self._plan = Plan(self._collection, self._writer, rebuild)
        work = self._plan.work(self._source, limit)
        self._total = len(work)
        told = self._source.told and {**self._source.told, "limit": limit, "keep_missing": missing == KEEP}
        self._run_id = self._catalog.start_run(self._collection.name, str(self._source.root), self._total, told, announced)
        try:
            self._read_all(work, workers)
            del work
            if not partial and missing != KEEP:
                self._remove_vanished(guarded=missing == GUARD)
            if rebuild and missing != DROP:
                self._guard_rebuild()
            rows = self._publish()
        except BaseException as error:
            self._give_up(error)
            raise
        return self._finish(rows, time.perf_counter() - started, complete=not partial)

    def _read_all(self, work: Works, workers: int | None) -> None:
        for problem in self._source.problems:
            self._fail(str(self._source.root), problem)
        self._progress("photos", 0, self._total)
        if workers is None:
            workers = default_workers(len(work), self._beside_encoder)
        with PhotoReader(workers, self._turns) as reader:
            for _, result in reader.read(self._jobs(work)):
                self._settle(self._under_way.popleft(), result)
        self._advance(self._filler.finish())
        self._record_files()

    def _remove_vanished(self, guarded: bool) -> None:
        """Only now, for what was moved is found by its content. Raises MostVanished."""
        root, plan = str(self._source.root), self._plan
        gone = plan.vanished(root, self._source.hidden)
        count, whole = sum(known.published for known in gone), plan.share_of(root)
        if guarded and count * 2 > whole:
            raise MostVanished(root, count, whole)
        for known in gone:
            plan.remove(known)

    def _guard_rebuild(self) -> None:
        before, after = self._plan.replaceable, self._plan.added
        if after * 2 < before:
            raise MostVanished(str(self._source.root), before - after, before)

    def _jobs(self, work: Iterable[Work]) -> Iterator[Job]:
        """The photos that have to be looked into, which are `_under_way` then; the others are settled on the way."""
        inputs = self._encoder.config.inputs
        for one, file in self._with_files(work):
            self._plan.known.name(one.uri)
            path, features = str(one.place.path), features_in(one.item.metadata)
            if self._plan.is_untouched(one, file, files_of(path, features, inputs).all):
                self._keep(one)
                continue
            try:
                span = one.place.span()
            except OSError as error:
                self._settle(one, Failure(one.uri, MISSING, f"{one_line(one.uri)} can't be read ({error.strerror})."))
                continue
            self._under_way.append(one)
            yield Job(one.uri, inputs, self._plan.content_to_skip(one), features, path, span)

    def _with_files(self, work: Iterable[Work]) -> Iterator[tuple[Work, FileRecord | None]]:
        """Each with what the catalog knows of its file, asked for a few at a time."""
        coming = iter(work)
        while part := list(islice(coming, RECORDS_AT_ONCE)):
            files = self._catalog.files_of(self._collection.name, [one.uri for one in part])
            yield from ((one, files.get(one.uri)) for one in part)

    def _settle(self, work: Work, result: Result) -> None:
        """Do what is to be done with a photo that was looked into."""
        if isinstance(result, Failure):
            self._fail(work.source, result)
            if result.reason == MISSING:
                self._plan.known.name(work.uri, named=False)
            self._advance(1)
        elif isinstance(result, FileState):
            self._record(_indexed(work, result, self._plan.known.get(work.uri).image_id))
            self._keep(work)
        else:
            entry = self._plan.entry(work, result)
            self._record(_indexed(work, result.file, entry.image_id))
            self._advance(self._filler.add(entry))

    def _keep(self, work: Work) -> None:
        self._unchanged += self._plan.is_published(work)
        self._advance(1)

    def _fail(self, source: str, failure: Failure) -> None:
        self._failures.append(failure)
        self._record(FileRecord(failure.uri, source, FAILED, reason=failure.reason, sentence=failure.sentence))

    def _advance(self, count: int) -> None:
        if count:
            self._done += count
            self._progress("photos", self._done, self._total)

    def _record(self, record: FileRecord) -> None:
        self._records.append(record)
        if len(self._records) >= RECORDS_AT_ONCE:
            self._record_files()

    def _record_files(self) -> None:
        records, self._records = self._records, []
        if records:
            self._catalog.record_files(self._collection.name, records)
            self._catalog.update_run(self._run_id, done=self._done, failed=len(self._failures))

    def _publish(self) -> SegmentSet | None:
        """The rows of the version that is published now, a new one if anything changed. None if there never was one."""
        before = self._writer.manifest.version
        self._plan.forget()
        self._progress("publish", 0, 1)
        manifest = self._writer.publish(self._plan.change)
        rows = self._collection.open_rows() if manifest.version else None
        if manifest.version != before:
            self._catalog.record_version(self._collection.name, version_record(manifest))
        self._progress("publish", 1, 1)
        return rows

    def _give_up(self, error: BaseException) -> None:
        """Leave what was encoded to the next run."""
        self._filler.suspend()
        state = FAILED if isinstance(error, Exception) else INTERRUPTED
        with suppress(CatalogError):  # what ended the run is what should be told
            self._catalog.finish_run(self._run_id, state, done=self._done, failed=len(self._failures))

    def _finish(self, rows: SegmentSet | None, seconds: float, complete: bool) -> BuildSummary:
        plan, name = self._plan, self._collection.name
        if complete:
            still = {failure.uri for failure in self._failures}
            self._catalog.forget_failures(name, str(self._source.root), still)
        if rows is not None:
            self._catalog.forget_files(name, self._catalog.orphaned_files(name, rows.image_ids()))
        summary = BuildSummary(
            images=rows.image_count if rows else 0,
            captions=rows.caption_count if rows else 0,
            added=plan.added,
            unchanged=self._unchanged,
            failures=self._failures,
            seconds=seconds,
            images_per_second=self._filler.encoded / seconds,
            version=self._writer.manifest.version,
            replaced=plan.replaced,
            resumed=plan.resumed,
            removed=plan.removed,
        )
        self._catalog.finish_run(
            self._run_id,
            DONE,
            done=self._done,
            added=summary.added,
            unchanged=summary.unchanged,
            failed=len(summary.failures),
            images_per_second=summary.images_per_second,
            version=summary.version,
        )
        return summary


def _indexed(work: Work, file: FileState, image_id: int) -> FileRecord:
    return FileRecord(work.uri, work.source, INDEXED, file.bytes, file.mtime_ns, file.sha256, image_id=image_id)
