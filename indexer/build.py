"""Builds an index: from a source to a published version of a collection."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

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
from indexer.work import WorkItem, WorkList
from storage.catalog.catalog import DONE, FAILED, INDEXED, INTERRUPTED, FileRecord
from storage.collection import Collection
from storage.errors import CatalogError, unusable
from storage.home import Home
from storage.maintenance import version_record
from storage.segments.segment_set import SegmentSet
from storage.vector_index.selection import IndexBudget
from storage.writer import Writer

if TYPE_CHECKING:
    from encoder.api import BulkEncoder

RECORDS_AT_ONCE = 256
GUARD, KEEP, DROP = "guard", "keep", "drop"
Progress = Callable[[str, int, int], None]
"""Called with (stage, done, total): `stage` is "photos" or "publish", `done` counts up to `total`."""


@dataclass(frozen=True)
class BuildSummary:
    """What a run did.

    Attributes:
        images: images that the collection holds now.
        captions: captions that the collection holds now.
        added: images that became visible with this run.
        unchanged: images that were visible before and stay as they are.
        failures: the files that could not be used.
        seconds: how long the run took.
        images_per_second: photos encoded by this run, divided by `seconds`.
        version: the version that is published now.
        replaced: of `added`, images that took the place of a photo or captions that had changed.
        resumed: of `added`, images that were encoded by an earlier run that was interrupted.
        removed: images that were removed because the source has them no more.
        unused: what the source holds and was not used, counted, as JSON values.
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
    unused: list[dict[str, Any]] = field(default_factory=list)


def build_index(
    home: Home,
    name: str,
    source: Source,
    encoder: BulkEncoder,
    limit: int | None = None,
    rebuild: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
    missing: str = GUARD,
    partial: bool = False,
    budget: IndexBudget | None = None,
    announced: int | None = None,
    embedded_captions: bool = True,
) -> BuildSummary:
    """Bring a collection up to date with a source, and publish.

    Photos that cannot be read are recorded and listed in the summary; the run goes on. The run can be killed at any instant:
    the published version stays as it is, and the next run continues with what was finished.

    Args:
        home: the home that has the collection.
        name: the collection's name; it is created if it does not exist.
        source: the photos and captions.
        encoder: encodes them.
        limit: take only the first photos of the source.
        rebuild: encode everything anew, also what came from other sources, and replace the collection in one instant.
        workers: processes that decode photos; 0 decodes in this one, None takes `default_workers`.
        progress: called with how far the run is.
        missing: what to do with images that the source has no more: "guard" removes them, but refuses to remove more than
            half; "drop" removes them in any case; "keep" removes none.
        partial: the source lists only some of its photos, so none is missing. With `limit`, none is missing either.
        budget: what a search may cost before an approximate index is tried; None: as in the version before.
        announced: the run's id, if `Catalog.announce_run` gave it one.
        embedded_captions: a description in a photo's own file is a caption; False keeps to what the source says, as a
            measurement on the source's captions has to.

    Raises:
        WrongModel: the model can read nothing of the source.
        MostVanished: more than half of the source's images would be removed.
        CollectionBusy: another run writes to the collection.
        OtherWeights: the collection was encoded by another model, and this is no rebuild.
        BrokenManifest: the collection is damaged.
        BrokenSegment: the collection is damaged.
        CatalogError: the catalog can't be used.
        UnusableHome: the home can't be written.
    """
    check_model(source, encoder.config.inputs)
    collection = home.create_collection(name)
    options = _Options(limit, rebuild, workers, missing, partial or limit is not None, announced, embedded_captions)
    try:
        with collection.writer(encoder.fingerprint, rebuild) as writer:
            writer.budget = budget
            return _BuildRun(home, collection, writer, source, encoder, progress, options).run()
    except OSError as error:
        raise unusable(home.path, error) from error


@dataclass(frozen=True)
class _Options:
    """The options of `build_index` that its steps need."""

    limit: int | None
    rebuild: bool
    workers: int | None
    missing: str
    partial: bool
    announced: int | None
    embedded_captions: bool


class _BuildRun:
    """One run of `build_index`."""

    def __init__(
        self,
        home: Home,
        collection: Collection,
        writer: Writer,
        source: Source,
        encoder: BulkEncoder,
        progress: Progress | None,
        options: _Options,
    ):
        self._catalog, self._collection, self._writer = home.catalog, collection, writer
        self._source, self._encoder, self._options = source, encoder, options
        self._progress: Progress = progress or (lambda stage, done, total: None)
        on_cpu = encoder.device == "CPU"
        self._turns = CpuTurns() if on_cpu and getattr(encoder, "devices", 1) == 1 else None
        self._beside_encoder = on_cpu and self._turns is None
        self._filler = SegmentFiller(writer, encoder, self._turns)
        self._failures: list[Failure] = []
        self._under_way: deque[WorkItem] = deque()
        self._records: list[FileRecord] = []
        self._done = self._unchanged = 0

    def run(self) -> BuildSummary:
        """Read, encode and publish."""
        started = time.perf_counter()
        options = self._options
        self._plan = Plan(self._collection, self._writer, options.rebuild, options.embedded_captions)
        work = self._plan.work_list(self._source, options.limit)
        self._total = len(work)
        self._run_id = self._start_run()
        try:
            self._read_all(work)
            del work
            if not options.partial and options.missing != KEEP:
                self._remove_vanished(guarded=options.missing == GUARD)
            if options.rebuild and options.missing != DROP:
                self._guard_rebuild()
            rows = self._publish()
        except BaseException as error:
            self._give_up(error)
            raise
        return self._finish(rows, time.perf_counter() - started)

    def _start_run(self) -> int:
        """Record the run in the catalog, with how its source was opened; returns the run's id."""
        root, options = str(self._source.root), self._options
        how = self._source.options and {
            **self._source.options,
            "limit": options.limit,
            "keep_missing": options.missing == KEEP,
            **({"unused": self._source.unused.as_json()} if self._source.unused else {}),
        }
        return self._catalog.start_run(self._collection.name, root, self._total, how, options.announced)

    def _read_all(self, work: WorkList) -> None:
        for problem in self._source.problems:
            self._fail(str(self._source.root), problem)
        self._progress("photos", 0, self._total)
        workers = self._options.workers
        if workers is None:
            workers = default_workers(len(work), self._beside_encoder)
        with PhotoReader(workers, self._turns) as reader:
            for _, result in reader.read(self._jobs(work)):
                self._settle(self._under_way.popleft(), result)
        self._advance(self._filler.finish())
        self._record_files()

    def _remove_vanished(self, guarded: bool) -> None:
        """Remove the images that the source has no more.

        This comes after all photos were read: a moved photo is found by its content.

        Raises:
            MostVanished: `guarded` is set, and more than half of the source's images are gone.
        """
        root, plan = str(self._source.root), self._plan
        gone = plan.vanished(root, self._source.hidden_prefixes)
        gone_count, known_count = sum(image.published for image in gone), plan.published_count(root)
        if guarded and gone_count * 2 > known_count:
            raise MostVanished(root, gone_count, known_count)
        for image in gone:
            plan.remove(image)

    def _guard_rebuild(self) -> None:
        """Refuse a rebuild that would lose more than half of the images.

        Raises:
            MostVanished: it would.
        """
        before, after = self._plan.replaceable, self._plan.added
        if after * 2 < before:
            raise MostVanished(str(self._source.root), before - after, before)

    def _jobs(self, work: Iterable[WorkItem]) -> Iterator[Job]:
        """The photos that must be read, which are added to `_under_way`; the others are settled here."""
        inputs = self._encoder.config.inputs
        for one, file in self._with_files(work):
            self._plan.known.mark_named(one.uri)
            path, features = str(one.photo_uri.path), features_in(one.item.metadata)
            if self._plan.is_unchanged(one, file, files_of(path, features, inputs).all):
                self._keep(one)
                continue
            try:
                part = one.photo_uri.part()
            except OSError as error:
                self._settle(one, Failure(one.uri, MISSING, f"{one_line(one.uri)} can't be read ({error.strerror})."))
                continue
            self._under_way.append(one)
            yield Job(one.uri, inputs, self._plan.content_to_skip(one), features, path, part)

    def _with_files(self, work: Iterable[WorkItem]) -> Iterator[tuple[WorkItem, FileRecord | None]]:
        """Each photo with what the catalog knows of its file; the catalog is asked `RECORDS_AT_ONCE` at a time."""
        remaining = iter(work)
        while part := list(islice(remaining, RECORDS_AT_ONCE)):
            files = self._catalog.files_of(self._collection.name, [one.uri for one in part])
            yield from ((one, files.get(one.uri)) for one in part)

    def _settle(self, work: WorkItem, result: Result) -> None:
        """Record the result of reading a photo, and encode the photo if it is new or changed."""
        if isinstance(result, Failure):
            self._fail(work.source, result)
            if result.reason == MISSING:
                self._plan.known.mark_named(work.uri, named=False)
            self._advance(1)
        elif isinstance(result, FileState):
            known = self._plan.known.get(work.uri)
            assert known is not None, "only content that is known is not decoded"
            self._record(_indexed(work, result, known.image_id))
            self._keep(work)
        else:
            entry = self._plan.make_entry(work, result)
            self._record(_indexed(work, result.file, entry.image_id))
            self._advance(self._filler.add(entry))

    def _keep(self, work: WorkItem) -> None:
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
        """Publish a new version if anything changed.

        Returns:
            The rows of the version that is published now; None if none was ever published.
        """
        before = self._writer.manifest.version
        self._plan.release()
        self._progress("publish", 0, 1)
        manifest = self._writer.publish(self._plan.change)
        rows = self._collection.open_rows() if manifest.version else None
        if manifest.version != before:
            self._catalog.record_version(self._collection.name, version_record(manifest))
        self._progress("publish", 1, 1)
        return rows

    def _give_up(self, error: BaseException) -> None:
        """End the run without publishing. What was encoded stays for the next run."""
        self._filler.suspend()
        state = FAILED if isinstance(error, Exception) else INTERRUPTED
        with suppress(CatalogError):  # `error` is what should be reported
            self._catalog.finish_run(self._run_id, state, done=self._done, failed=len(self._failures))

    def _finish(self, rows: SegmentSet | None, seconds: float) -> BuildSummary:
        """Clean up the catalog, and record the end of the run in it."""
        name = self._collection.name
        if not self._options.partial:
            still_failing = {failure.uri for failure in self._failures}
            self._catalog.forget_failures(name, str(self._source.root), still_failing)
        if rows is not None:
            self._catalog.forget_files(name, self._catalog.orphaned_files(name, rows.image_ids()))
        summary = self._summary(rows, seconds)
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

    def _summary(self, rows: SegmentSet | None, seconds: float) -> BuildSummary:
        plan = self._plan
        return BuildSummary(
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
            unused=self._source.unused.as_json(),
        )


def _indexed(work: WorkItem, file: FileState, image_id: int) -> FileRecord:
    return FileRecord(work.uri, work.source, INDEXED, file.bytes, file.mtime_ns, file.sha256, image_id=image_id)
