"""Changes of a collection that encode nothing: delete, compact, roll back; and the list of its versions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from storage.catalog.catalog import VersionRecord
from storage.collection import Collection
from storage.errors import BrokenSegment, EmptyCollection, UnfinishedRun, UnknownVersion, unusable
from storage.files import TEMPORARY
from storage.history import KEPT_VERSIONS, History
from storage.home import Home
from storage.manifest import Manifest
from storage.photo_texts import PhotoTexts, write_texts
from storage.segments.builder import CAPTION, MERGE, REBUILD, SegmentInfo
from storage.segments.journal import ENDING, ImageBatch, Journal
from storage.segments.merging import CAPTIONS_AN_IMAGE, FULL, needs_compaction, too_many_small
from storage.segments.rewriting import without_captions
from storage.segments.schemas import CaptionRecord
from storage.snapshot import Snapshot, rows_of
from storage.upload_store import UploadStore
from storage.writer import Writer, now


class Maintenance(Writer):
    """A writer that encodes nothing. It keeps the fingerprint of what is published, and drops an interrupted run's work."""

    def __init__(self, folder: Path, drop_unfinished: bool = False):
        """Lock a collection.

        Args:
            folder: The collection's folder.
            drop_unfinished: Drop what an interrupted run had encoded.

        Raises:
            CollectionBusy: Another process writes to the collection.
            EmptyCollection: Nothing was published.
            BrokenManifest: The manifest is damaged.
            UnfinishedRun: An interrupted run's work would be dropped without `drop_unfinished`.
        """
        self._drop = drop_unfinished
        super().__init__(folder, "")

    def compact(self) -> Manifest:
        """Rewrite the segments that hold deleted images, and the small ones, without these images, and publish."""
        segments = self._opened(self.manifest.segments)
        rewritten = needs_compaction(segments, self._dead)
        if not rewritten:
            return self.manifest
        return self._commit(self._merged(segments, rewritten), True, "compacted")

    def mend(self, damaged: set[str], change: str, keep_texts: bool = True) -> Manifest:
        """Publish the collection without its damaged segments, and with new index files.

        Versions that hold a damaged segment, or texts that are left out, are forgotten.

        Args:
            damaged: The names of segments, which are not read.
            change: What the new version changes, in words.
            keep_texts: False leaves out the texts that were read in photos.
        """
        lost_texts = "" if keep_texts else self.manifest.texts
        if lost_texts:
            self.manifest = replace(self.manifest, texts="")
        names = [name for name in self.manifest.segments if name not in damaged]
        if not names:
            names = [self._builder(self.manifest.dim, self.manifest.token_shape, MERGE).finish()]
        manifest = self._commit(self._opened(names), True, change)
        kept = self._history.manifests()
        lost = [old.version for old in kept if damaged & set(old.segments) or (lost_texts and old.texts == lost_texts)]
        self.forget(lost)
        return manifest

    def put_texts(self, newer: PhotoTexts, older: PhotoTexts, change: str) -> Manifest:
        """Publish the texts of photos as a new version with the same photos.

        Args:
            newer: What was read since the last publication.
            older: The texts of the version that is published.
            change: What the new version changes, in words.
        """
        version = self.manifest.version + 1
        living = rows_of(self._folder, self.manifest).image_table()["sha256"].to_pylist()
        texts = write_texts(self._folder, str(version), newer, older, living)
        return self._save(replace(self.manifest, version=version, texts=texts, published_at=now(), change=change))

    def put_captions(self, batches: Iterable[tuple[list[CaptionRecord], np.ndarray]], change: str) -> Manifest:
        """Publish more captions of images that the collection has.

        Args:
            batches: Captions, whose ids are 0 and are given here, with their vectors, float [n, D].
            change: What the new version changes, in words.
        """
        manifest, names = self.manifest, []
        waiting: list[tuple[list[CaptionRecord], np.ndarray]] = []

        def write() -> None:
            builder = self._builder(manifest.dim, manifest.token_shape, CAPTION)
            for captions, vectors in waiting:
                builder.add_captions([replace(one, caption_id=self.new_caption_id()) for one in captions], vectors)
            names.append(builder.finish())
            waiting.clear()

        for captions, vectors in batches:
            if captions:
                waiting.append((captions, vectors))
            if sum(len(own) for own, _ in waiting) >= FULL * CAPTIONS_AN_IMAGE:
                write()
        if waiting:
            write()
        if not names:
            return manifest
        segments = self._opened([*manifest.segments, *names])
        return self._commit(self._merged(segments, too_many_small(segments)), True, change)

    def delete_captions(self, ids: Sequence[int], change: str) -> Manifest:
        """Publish the collection without some captions; their images stay.

        The segments that hold them are written anew, which is cheap (see `storage.segments.rewriting`): so no list of deleted
        captions grows in the manifest, and any program reads the collection as it is meant.

        Args:
            ids: The captions' ids.
            change: What the new version changes, in words.
        """
        gone, kept = np.asarray(sorted(ids), np.int64), []
        for segment in self._opened(self.manifest.segments):
            left_out = np.isin(segment.caption_ids, gone)
            if not left_out.any():
                kept.append(segment.folder.name)
            elif segment.info.images or not left_out.all():
                name = self._new_segment_name()
                without_captions(segment, gone, self._segments / (TEMPORARY + name), self._segments / name)
                kept.append(name)
        return self._commit(self._opened(kept), True, change) if len(gone) else self.manifest

    def roll_back(self, version: int) -> Manifest:
        """Publish the state of an old version as a new version.

        Raises:
            UnknownVersion: That version is not kept.
            StorageError: That version can't be opened.
        """
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
        """The number of images that an interrupted run of any kind has encoded and not published."""
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
    """The number of images that an interrupted `build-index --rebuild` has encoded. A run without --rebuild drops them.

    Raises:
        BrokenManifest: The manifest is damaged.
    """
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
    """Delete images and their captions from a collection.

    Args:
        home: The home.
        name: The collection's name.
        ids: The images' ids.
        drop_unfinished: Drop what an interrupted run had encoded.

    Returns:
        The report of the command, as JSON values.

    Raises:
        UnknownId: There is no such image; nothing is deleted.
        StorageError: What `changed` raises.
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


def compact(home: Home, name: str, keep: int = KEPT_VERSIONS, drop_unfinished: bool = False) -> dict:
    """Rewrite segments that hold deleted images, and remove what is no longer needed.

    Args:
        home: The home.
        name: The collection's name.
        keep: How many versions before the current one to keep.
        drop_unfinished: Drop what an interrupted run had encoded.

    Returns:
        The report of the command, as JSON values.
    """
    folder = home.collection(name).folder
    before = size_of(folder)

    def change(writer: Maintenance) -> Manifest:
        manifest = writer.compact()
        writer.prune(keep)
        UploadStore(folder).sweep()
        return manifest

    report = changed(home, name, change, drop_unfinished)
    return {**report, "bytes_before": before, "bytes_after": size_of(folder)}


def roll_back(home: Home, name: str, version: int, drop_unfinished: bool = False) -> dict:
    """Publish the state of an old version as a new version.

    Args:
        home: The home.
        name: The collection's name.
        version: The old version.
        drop_unfinished: Drop what an interrupted run had encoded.

    Returns:
        The report of the command, as JSON values.

    Raises:
        UnknownVersion: That version is not kept.
    """
    return {"back_to": version, **changed(home, name, lambda writer: writer.roll_back(version), drop_unfinished)}


def versions(home: Home, name: str) -> dict:
    """The versions that are kept, newest first, as JSON values; the first one is the current version."""
    collection = home.collection(name)
    current, recorded = collection.manifest, {record.version: record for record in home.catalog.versions(name)}
    older = [manifest for manifest in History(collection.folder).manifests() if manifest.version < current.version]
    kept = [manifest for manifest in (current, *older) if manifest.version]
    return {"collection": name, "versions": [_version_entry(manifest, recorded.get(manifest.version)) for manifest in kept]}


def changed(
    home: Home,
    name: str,
    change: Callable[[Maintenance], Manifest],
    drop_unfinished: bool,
    then: Callable[[], None] = lambda: None,
) -> dict:
    """Change a collection, and bring the catalog in line with it.

    The catalog is changed under the lock too: a build that began right after would record files that are not published yet.

    Args:
        home: The home.
        name: The collection's name.
        change: Publishes something, and returns what is published then.
        drop_unfinished: Drop what an interrupted run had encoded.
        then: Called after it, under the lock still.

    Returns:
        The version, if it changed, and its counts, as JSON values.

    Raises:
        UnusableHome: The system refuses to write.
        StorageError: What `change` and `Maintenance` raise.
    """
    collection = home.collection(name)
    try:
        with Maintenance(collection.folder, drop_unfinished) as writer:
            before = writer.manifest.version
            manifest = change(writer)
            rows = rows_of(collection.folder, manifest)
            if manifest.version != before:
                home.catalog.record_version(name, version_record(manifest))
            home.catalog.forget_files(name, home.catalog.orphaned_files(name, rows.image_ids()))
            then()
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
    """A publication as the catalog records it."""
    return VersionRecord(manifest.version, manifest.fingerprint, manifest.images, manifest.captions, manifest.published_at)


def size_of(folder: Path) -> int:
    """The bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def changed_lines(report: dict) -> Iterator[str]:
    """Format a report of `delete`, `compact` or `rollback` for people."""
    name, version = report["collection"], report["version"]
    if "deleted" in report:
        count, named = len(report["deleted"]), "" if name == "default" else f" --collection {name}"
        yield (
            f"{count} image{'' if count == 1 else 's'} deleted. A photo that is still in its source comes back with the "
            f"next build-index; `python manage.py rollback {version - 1}{named}` undoes this."
        )
    if "deleted_captions" in report:
        count, named = report["deleted_captions"], "" if name == "default" else f" --collection {name}"
        undo = f" `python manage.py rollback {version - 1}{named}` undoes this." if report["changed"] else ""
        yield f"{count} caption{'' if count == 1 else 's'} deleted; the photos stay.{undo}"
    if "back_to" in report:
        yield f"Back to version {report['back_to']}, which is version {version} now."
    if "bytes_after" in report:
        yield f"{report['bytes_before']:,} bytes before, {report['bytes_after']:,} now" + (
            "" if report["changed"] else "; no segment holds deleted images"
        )
    yield f"{report['images']} images and {report['captions']} captions in {name}, version {version}"


def version_lines(report: dict) -> Iterator[str]:
    """Format a `versions` report for people: one line a version."""
    for one in report["versions"]:
        change = f": {one['change']}" if one["change"] else ""
        yield (
            f"{one['version']:>5}  {one['published_at']}  {one['images']} images, {one['captions']} captions, "
            f"model {one['model_fingerprint']}{change}"
        )


def _version_entry(manifest: Manifest, recorded: VersionRecord | None) -> dict:
    counted = manifest if manifest.images or recorded is None else recorded
    return {
        "version": manifest.version,
        "published_at": manifest.published_at,
        "images": counted.images,
        "captions": counted.captions,
        "model_fingerprint": manifest.fingerprint,
        "change": manifest.change,
    }
