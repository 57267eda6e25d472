"""Repair of a damaged collection, as far as that is possible without an encoder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from storage.catalog.catalog import FAILED, SEGMENT_DAMAGED, FileRecord
from storage.errors import BrokenManifest, BrokenSegment, OutdatedDiagnosis, StorageError, unusable
from storage.files import sha256_of
from storage.history import History
from storage.home import Home
from storage.locking import locked
from storage.maintenance import Maintenance, changed
from storage.manifest import Manifest
from storage.segments.builder import SegmentInfo
from storage.segments.reader import Segment
from storage.segments.schemas import (
    CAPTION_SCHEMA,
    IMAGE_SCHEMA,
    CaptionRecord,
    ImageRecord,
    table_to_captions,
    table_to_images,
)
from storage.snapshot import Snapshot
from storage.verification import history_problems, id_problems, index_problems, living_ids, read_segments, text_problems

Lost = list[tuple[ImageRecord, list[CaptionRecord]]]
"""Images of damaged segments whose rows can still be read, with their captions."""


def repair(home: Home, name: str, drop_unfinished: bool = False) -> tuple[dict, Lost]:
    """Repair what can be repaired; change nothing if nothing is wrong.

    A damaged manifest is restored from its copy or, if that is damaged too, from the version before. Damaged segments are
    left out; each of their photos becomes a failure, which `retry-failures` tries again. Damaged index files are made anew
    from the segments, versions that can't be rolled back to are forgotten, and the catalog is corrected.

    The collection is read before it is locked. If another version was published meanwhile, it is read again.

    Args:
        home: The home.
        name: The collection's name.
        drop_unfinished: Drop what an interrupted run had encoded.

    Returns:
        The report, as JSON values, with sentences that say what was done (`did`); and the images that are lost.

    Raises:
        StorageError: What `verify` and `Maintenance` raise.
    """
    folder = home.collection(name).folder
    try:
        with locked(folder):
            did = list(_restore_manifest(folder))
        while True:
            found = _diagnosis(folder)
            with suppress(OutdatedDiagnosis):
                report = changed(home, name, partial(_mend, home, name, found, mended := []), drop_unfinished)
                return {**report, "did": did + mended}, found.lost
    except OSError as error:
        raise unusable(home.path, error) from error


@dataclass(frozen=True)
class _Diagnosis:
    """What was found in one version.

    Attributes:
        manifest: The version.
        whole: Its segments that are whole.
        damaged: What is wrong with its other segments, by name.
        lost: The images of damaged segments.
        wrong: What else is wrong with ids and index files.
        texts: What is wrong with the texts that were read in photos.
    """

    manifest: Manifest
    whole: list[Segment]
    damaged: dict[str, str]
    lost: Lost
    wrong: list[str]
    texts: list[str]


def _diagnosis(folder: Path) -> _Diagnosis:
    """Examine the version that is published now, without changing anything."""
    manifest = Manifest.load(folder / "manifest.json")
    whole, damaged = read_segments(folder, manifest)
    rows = [row for segment in damaged for row in _rows_of(folder / "segments" / segment, set(manifest.tombstones))]
    lost = _with_captions_elsewhere(rows, whole)
    wrong = [] if damaged else [*id_problems(whole, manifest), *index_problems(folder, manifest, whole)]
    return _Diagnosis(manifest, whole, damaged, lost, wrong, [*text_problems(folder, manifest)])


def _mend(home: Home, name: str, found: _Diagnosis, did: list[str], writer: Maintenance) -> Manifest:
    """Repair what was found, and add to `did` what was done.

    Raises:
        OutdatedDiagnosis: Another version was published since; nothing is changed.
    """
    if writer.manifest.version != found.manifest.version:
        raise OutdatedDiagnosis(name, found.manifest.version, writer.manifest.version)
    broken = history_problems(home.collection(name).folder, found.manifest)
    writer.forget(list(broken))
    did += [f"forgot a version: {what}" for what in broken.values()]
    did += [f"left out a segment: {what}" for what in found.damaged.values()]
    did += [f"made the index files anew: {what}" for what in found.wrong]
    did += [f"left out the texts of photos, `read-text` reads them again: {what}" for what in found.texts]
    orphaned = _note_lost(home, name, found)
    did += [f"corrected the catalog: {orphaned} files"] if orphaned and not found.damaged else []
    if not (found.damaged or found.wrong or found.texts):
        return writer.manifest
    change = f"repaired, {len(found.damaged)} segments left out" if found.damaged else "repaired"
    return writer.mend(set(found.damaged), change, keep_texts=not found.texts)


def repair_lines(report: dict) -> Iterator[str]:
    """Format a `repair` report for people."""
    yield from report["did"] or ["Nothing was wrong."]
    if "encoded_again" in report:
        yield f"{report['encoded_again']} photos of damaged segments encoded again"
    if report.get("failures"):
        yield f"{len(report['failures'])} photos are not searchable: `python manage.py failures` lists them"
    yield f"{report['images']} images and {report['captions']} captions in {report['collection']}, version {report['version']}"


def _restore_manifest(folder: Path) -> Iterator[str]:
    """Replace a damaged manifest by that of the latest version that can be opened, and say so."""
    with suppress(BrokenManifest):
        Manifest.load(folder / "manifest.json")
        return
    for manifest in History(folder).manifests():
        with suppress(StorageError):
            Snapshot(folder, manifest)
            manifest.save(folder / "manifest.json")
            yield f"restored the manifest of version {manifest.version}"
            return
    Manifest.load(folder / "manifest.json")


def _rows_of(folder: Path, dead: set[int]) -> Lost:
    """The living rows of a damaged segment; none if the rows are damaged too. `dead` are ids of deleted images."""
    try:
        with suppress(BrokenSegment):
            files = SegmentInfo.load(folder).files
            if any(sha256_of(folder / name) != files[name]["sha256"] for name in ("images.parquet", "captions.parquet")):
                return []
        images = table_to_images(pq.read_table(folder / "images.parquet", schema=IMAGE_SCHEMA))
        captions = table_to_captions(pq.read_table(folder / "captions.parquet", schema=CAPTION_SCHEMA))
    except (OSError, ValueError, KeyError, pa.ArrowException):
        return []
    own: dict[int, list[CaptionRecord]] = {}
    for caption in captions:
        own.setdefault(caption.image_id, []).append(caption)
    return [(image, own.get(image.image_id, [])) for image in images if image.image_id not in dead]


def _with_captions_elsewhere(lost: Lost, whole: list[Segment]) -> Lost:
    """The lost images with those of their captions too that are in segments of captions alone."""
    ids, found = np.array([image.image_id for image, _ in lost], np.int64), dict[int, list[CaptionRecord]]()
    for segment in whole:
        rows = np.flatnonzero(np.isin(segment.owners, ids))
        for caption in table_to_captions(segment.captions.take(pa.array(rows))):
            found.setdefault(caption.image_id, []).append(caption)
    return [(image, [*captions, *found.get(image.image_id, [])]) for image, captions in lost]


def _note_lost(home: Home, name: str, found: _Diagnosis) -> int:
    """Record the photos of damaged segments as failures; the number of files that were wrongly recorded as indexed."""
    orphaned = home.catalog.orphaned_files(name, living_ids(found.whole, found.manifest))
    sources = {image.uri: image.source for image, _ in found.lost}
    if found.damaged:
        sources |= {uri: record.source for uri, record in home.catalog.files_of(name, orphaned).items()}
        home.catalog.record_files(name, [_failure(uri, source) for uri, source in sources.items()])
    return len(orphaned)


def _failure(uri: str, source: str) -> FileRecord:
    sentence = f"{uri} was in a segment that is damaged; run `python manage.py retry-failures`."
    return FileRecord(uri, source, FAILED, reason=SEGMENT_DAMAGED, sentence=sentence)
