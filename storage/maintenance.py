"""What is done to a collection without encoding anything: delete, compact, list versions, go back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from storage.catalog.catalog import VersionRecord
from storage.collection import Collection
from storage.errors import BrokenSegment, EmptyCollection, UnfinishedRun, UnknownVersion, unusable
from storage.files import TEMPORARY
from storage.history import KEPT, History
from storage.home import Home
from storage.manifest import Manifest
from storage.segments.builder import MERGE, REBUILD, SegmentInfo
from storage.segments.journal import ENDING, ImageBatch, Journal
from storage.segments.merging import needs_compaction
from storage.snapshot import Snapshot, rows_of
from storage.upload_store import UploadStore
from storage.writer import Writer, now


class Maintenance(Writer):
    """A writer that encodes nothing: it has the weights of what is published, and no use for an interrupted run's work."""

    def __init__(self, folder: Path, drop_unfinished: bool = False):
        """Raises CollectionBusy, EmptyCollection, BrokenManifest or, where work would be lost, UnfinishedRun."""
        self._drop = drop_unfinished
        super().__init__(folder, "")

    def compact(self) -> Manifest:
        """Write the segments that hold tombstoned images, and the small ones, anew without those; publishes that."""
        segments = self._opened(self.manifest.segments)
        rewritten = needs_compaction(segments, self._dead)
        if not rewritten:
            return self.manifest
        return self._commit(self._merged(segments, rewritten), True, "compacted")

    def mend(self, damaged: set[str], change: str) -> Manifest:
        """Publish the collection without these segments, which are not read, and with index files made anew; versions that
        hold them are forgotten."""
        names = [name for name in self.manifest.segments if name not in damaged]
        if not names:
            names = [self._builder(self.manifest.dim, self.manifest.token_shape, MERGE).finish()]
        manifest = self._commit(self._opened(names), True, change)
        self.forget([old.version for old in self._history.manifests() if damaged & set(old.segments)])
        return manifest

    def roll_back(self, version: int) -> Manifest:
        """Publish the state of an old version again, as a new version. Raises UnknownVersion, or what opening it raises."""
        kept = [manifest for manifest in self._history.manifests() if manifest.version < self.manifest.version]
        old = next((manifest for manifest in kept if manifest.version == version), None)
        if old is None:
            raise UnknownVersion(version, [manifest.version for manifest in kept])
        Snapshot(self._folder, old)
        return self._save(
            replace(
                old,
                version=self.manifest.version + 1,
                next_image_id=self._next_image,
                next_caption_id=self._next_caption,
                published_at=now(),
                change=f"rolled back to version {version}",
            )
        )

    def _check_leftovers(self) -> None:
        if not self.manifest.version:
            raise EmptyCollection(self._folder.name)
        self._fingerprint = self.manifest.fingerprint
        if not self._drop and (lost := self._images_of_interrupted_run()):
            raise UnfinishedRun(self._folder.name, lost)

    def _continues(self, info: SegmentInfo) -> bool:
        return False

    def _images_of_interrupted_run(self) -> int:
        """How many images are encoded, whatever for, and not published."""
        kept = {name for manifest in [self.manifest, *self._history.manifests()] for name in manifest.segments}
        total = 0
        for name in self._names():
            if name.startswith(TEMPORARY) or name in kept:
                continue
            with suppress(BrokenSegment):
                total += self._images_in(name)
        return total

    def _images_in(self, name: str) -> int:
        if name.endswith(ENDING):
            journal = Journal(self._segments / name)
            finished = name.removesuffix(ENDING) in self._names()
            current = not finished and (journal.about() or {}).get("base_version") == self.manifest.version
            return sum(len(b.images) for b in journal.batches() if isinstance(b, ImageBatch)) if current else 0
        info = SegmentInfo.load(self._segments / name)
        return info.images if info.base_version == self.manifest.version and info.purpose != MERGE else 0


def images_of_interrupted_rebuild(collection: Collection) -> int:
    """How many images a `build-index --rebuild` had encoded when it ended before its time; a run that is none drops them.
    Raises BrokenManifest."""
    folder, manifest = collection.folder / "segments", collection.manifest
    names, total = {path.name for path in folder.iterdir()} if folder.is_dir() else set(), 0
    for name in names - set(manifest.segments):
        with suppress(BrokenSegment):
            if name.endswith(ENDING) and name.removesuffix(ENDING) not in names:
                journal = Journal(folder / name)
                about = journal.about() or {}
                if _is_rebuild(about.get("purpose"), about.get("base_version"), manifest):
                    total += sum(len(batch.images) for batch in journal.batches() if isinstance(batch, ImageBatch))
            elif not name.endswith(ENDING) and not name.startswith(TEMPORARY):
                info = SegmentInfo.load(folder / name)
                total += info.images if _is_rebuild(info.purpose, info.base_version, manifest) else 0
    return total


def _is_rebuild(purpose: str | None, base_version: int | None, manifest: Manifest) -> bool:
    return purpose == REBUILD and base_version == manifest.version


def delete_images(home: Home, name: str, ids: Sequence[int], drop_unfinished: bool = False) -> dict:
    """Take images and their captions out of a collection; the answer of the command, as plain values.

    Raises UnknownId, with nothing deleted, and what `Maintenance` and opening the collection raise.
    """
    collection = home.collection(name)
    wanted = sorted(set(ids))
    collection.open_rows().images(wanted)  # before an interrupted run's work is dropped

    def change(writer: Maintenance) -> Manifest:
        rows_of(collection.folder, writer.manifest).images(wanted)  # another may have deleted them since
        for image_id in wanted:
            writer.tombstone(image_id)
        return writer.publish(f"{len(wanted)} deleted")

    return {"deleted": wanted, **changed(home, name, change, drop_unfinished)}


def compact(home: Home, name: str, keep: int = KEPT, drop_unfinished: bool = False) -> dict:
    """Write segments with tombstoned images anew, and keep only `keep` versions before the current one, and only the uploaded
    photos that are still named."""
    folder = home.collection(name).folder
    before = size_of(folder)

    def change(writer: Maintenance) -> Manifest:
        manifest = writer.compact()
        writer.prune(keep)
        UploadStore(folder).sweep()
        return manifest

    answer = changed(home, name, change, drop_unfinished)
    return {**answer, "bytes_before": before, "bytes_after": size_of(folder)}


def roll_back(home: Home, name: str, version: int, drop_unfinished: bool = False) -> dict:
    """Publish the state of an old version as a new one. Raises UnknownVersion."""
    return {"back_to": version, **changed(home, name, lambda writer: writer.roll_back(version), drop_unfinished)}


def versions(home: Home, name: str) -> dict:
    """The versions that are kept, newest first; the first is the current one."""
    collection = home.collection(name)
    current, noted = collection.manifest, {record.version: record for record in home.catalog.versions(name)}
    older = [manifest for manifest in History(collection.folder).manifests() if manifest.version < current.version]
    kept = [manifest for manifest in (current, *older) if manifest.version]
    return {"collection": name, "versions": [_described(manifest, noted.get(manifest.version)) for manifest in kept]}


def changed(home: Home, name: str, change: Callable[[Maintenance], Manifest], drop_unfinished: bool) -> dict:
    """Let `change` publish something and bring the catalog in step with it. Raises UnusableHome beside what it raises.

    The catalog too is changed under the lock: a build that began right after would note files that are not published yet.
    """
    collection = home.collection(name)
    try:
        with Maintenance(collection.folder, drop_unfinished) as writer:
            before = writer.manifest.version
            manifest = change(writer)
            rows = rows_of(collection.folder, manifest)
            if manifest.version != before:
                home.catalog.record_version(name, version_record(manifest))
            home.catalog.forget_files(name, home.catalog.strangers(name, rows.image_ids()))
    except OSError as error:
        raise unusable(home.path, error) from error
    return {
        "collection": name,
        "version": manifest.version,
        "changed": manifest.version != before,
        "images": rows.image_count,
        "captions": rows.caption_count,
    }


def version_record(manifest: Manifest) -> VersionRecord:
    """A publication as the catalog notes it."""
    return VersionRecord(manifest.version, manifest.fingerprint, manifest.images, manifest.captions, manifest.published_at)


def size_of(folder: Path) -> int:
    """The bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def changed_lines(answer: dict) -> Iterator[str]:
    """What `delete`, `compact` and `rollback` did."""
    name, version = answer["collection"], answer["version"]
    if "deleted" in answer:
        count, named = len(answer["deleted"]), "" if name == "default" else f" --collection {name}"
        yield (
            f"{count} image{'' if count == 1 else 's'} deleted. A photo that is still in its source comes back with the "
            f"next build-index; `python manage.py rollback {version - 1}{named}` undoes this."
        )
    if "back_to" in answer:
        yield f"Back to version {answer['back_to']}, which is version {version} now."
    if "bytes_after" in answer:
        yield f"{answer['bytes_before']:,} bytes before, {answer['bytes_after']:,} now" + (
            "" if answer["changed"] else "; no segment holds deleted images"
        )
    yield f"{answer['images']} images and {answer['captions']} captions in {name}, version {version}"


def version_lines(answer: dict) -> Iterator[str]:
    """One line a version."""
    for one in answer["versions"]:
        change = f": {one['change']}" if one["change"] else ""
        yield (
            f"{one['version']:>5}  {one['published_at']}  {one['images']} images, {one['captions']} captions, "
            f"model {one['model_fingerprint']}{change}"
        )


def _described(manifest: Manifest, noted: VersionRecord | None) -> dict:
    counted = manifest if manifest.images or noted is None else noted
    return {
        "version": manifest.version,
        "published_at": manifest.published_at,
        "images": counted.images,
        "captions": counted.captions,
        "model_fingerprint": manifest.fingerprint,
        "change": manifest.change,
    }
