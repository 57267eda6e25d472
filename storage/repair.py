"""Making a damaged collection whole again, as far as that goes without an encoder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

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
from storage.verification import history_problems, id_problems, index_problems, living_ids, read_segments

Lost = list[tuple[ImageRecord, list[CaptionRecord]]]


def repair(home: Home, name: str, drop_unfinished: bool = False) -> tuple[dict, Lost]:
    """Mend what can be mended; what was done in sentences (`did`), and the images that are lost but known by their rows.

    A damaged manifest is restored from its copy or, where that is damaged too, from the version before. Damaged segments
    are left out: each of their photos becomes a failure, which `retry-failures` tries again. Index files are made anew from
    the segments, versions that can't be gone back to are forgotten, and the catalog is brought in step. Nothing is touched
    where nothing is wrong. The collection is read before it is locked; where another version was published meanwhile, it is
    read anew. Raises what `verify` and `Maintenance` raise.
    """
    folder = home.collection(name).folder
    try:
        with locked(folder):
            did = list(_restore_manifest(folder))
        while True:
            found = _diagnosis(folder)
            with suppress(OutdatedDiagnosis):
                answer = changed(home, name, partial(_mend, home, name, found, mended := []), drop_unfinished)
                return {**answer, "did": did + mended}, found.lost
    except OSError as error:
        raise unusable(home.path, error) from error


@dataclass(frozen=True)
class _Diagnosis:
    """What was found in one version: its whole segments, what is wrong with others by name, which rows of these can be read,
    and what is wrong beside."""

    manifest: Manifest
    whole: list[Segment]
    damaged: dict[str, str]
    lost: Lost
    wrong: list[str]


def _diagnosis(folder: Path) -> _Diagnosis:
    """Of the version that is published now; changes nothing."""
    manifest = Manifest.load(folder / "manifest.json")
    whole, damaged = read_segments(folder, manifest)
    lost = [row for segment in damaged for row in _rows_of(folder / "segments" / segment, set(manifest.tombstones))]
    wrong = [] if damaged else [*id_problems(whole, manifest), *index_problems(folder, manifest, whole)]
    return _Diagnosis(manifest, whole, damaged, lost, wrong)


def _mend(home: Home, name: str, found: _Diagnosis, did: list[str], writer: Maintenance) -> Manifest:
    """Mend what was found, and add to `did` what was done. Raises OutdatedDiagnosis, with nothing changed."""
    if writer.manifest.version != found.manifest.version:
        raise OutdatedDiagnosis(name, found.manifest.version, writer.manifest.version)
    broken = history_problems(home.collection(name).folder, found.manifest)
    writer.forget(list(broken))
    did += [f"forgot a version: {what}" for what in broken.values()]
    did += [f"left out a segment: {what}" for what in found.damaged.values()]
    did += [f"made the index files anew: {what}" for what in found.wrong]
    strangers = _note_lost(home, name, found)
    did += [f"corrected the catalog: {strangers} files"] if strangers and not found.damaged else []
    if not (found.damaged or found.wrong):
        return writer.manifest
    return writer.mend(set(found.damaged), f"repaired, {len(found.damaged)} segments left out" if found.damaged else "repaired")


def repair_lines(answer: dict) -> Iterator[str]:
    """What `repair` did."""
    yield from answer["did"] or ["Nothing was wrong."]
    if "encoded_again" in answer:
        yield f"{answer['encoded_again']} photos of damaged segments encoded again"
    if answer.get("failures"):
        yield f"{len(answer['failures'])} photos are not searchable: `python manage.py failures` lists them"
    yield f"{answer['images']} images and {answer['captions']} captions in {answer['collection']}, version {answer['version']}"


def _restore_manifest(folder: Path) -> Iterator[str]:
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
    """The living rows of a damaged segment, where these at least are whole; none otherwise."""
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


def _note_lost(home: Home, name: str, found: _Diagnosis) -> int:
    """Make failures of what damaged segments held; how many files the catalog had wrongly as indexed."""
    strangers = home.catalog.strangers(name, living_ids(found.whole, found.manifest))
    sources = {image.uri: image.source for image, _ in found.lost}
    if found.damaged:
        sources |= {uri: record.source for uri, record in home.catalog.files_of(name, strangers).items()}
        home.catalog.record_files(name, [_failure(uri, source) for uri, source in sources.items()])
    return len(strangers)


def _failure(uri: str, source: str) -> FileRecord:
    sentence = f"{uri} was in a segment that is damaged; run `python manage.py retry-failures`."
    return FileRecord(uri, source, FAILED, reason=SEGMENT_DAMAGED, sentence=sentence)
