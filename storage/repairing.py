"""Making a damaged collection whole again, as far as that goes without an encoder."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from storage.catalog import FAILED, SEGMENT_DAMAGED, FileRecord
from storage.errors import BrokenManifest, BrokenSegment, StorageError, unusable
from storage.files import sha256_of
from storage.history import History
from storage.home import Home
from storage.locking import locked
from storage.maintenance import Maintenance, changed
from storage.manifest import Manifest
from storage.records import (
    CAPTION_SCHEMA,
    IMAGE_SCHEMA,
    CaptionRecord,
    ImageRecord,
    table_to_captions,
    table_to_images,
)
from storage.segments import SegmentInfo
from storage.snapshot import Snapshot
from storage.verification import history_problems, id_problems, index_problems, living_ids, read_segments

Lost = list[tuple[ImageRecord, list[CaptionRecord]]]


def repair(home: Home, name: str, drop_unfinished: bool = False) -> tuple[dict, Lost]:
    """Mend what can be mended; what was done in sentences (`did`), and the images that are lost but known by their rows.

    A damaged manifest is restored from its copy or, where that is damaged too, from the version before. Damaged segments
    are left out: each of their photos becomes a failure, which `retry-failures` tries again. Index files are made anew from
    the segments, versions that can't be gone back to are forgotten, and the catalog is brought in step. Nothing is touched
    where nothing is wrong. Raises what `verify` and `Maintenance` raise.
    """
    folder = home.collection(name).folder
    try:
        with locked(folder):
            did = list(_restore_manifest(folder))
        manifest = Manifest.load(folder / "manifest.json")
        whole, damaged = read_segments(folder, manifest)
        lost = [row for segment in damaged for row in _rows_of(folder / "segments" / segment, set(manifest.tombstones))]
        broken = history_problems(folder, manifest)
        with Maintenance(folder, drop_unfinished) as writer:  # an interrupted run is refused before anything is changed
            writer.forget(list(broken))
    except OSError as error:
        raise unusable(home.path, error) from error
    wrong = [] if damaged else [*id_problems(whole, manifest), *index_problems(folder, manifest, whole)]
    did += [f"forgot a version: {what}" for what in broken.values()]
    did += [f"left out a segment: {what}" for what in damaged.values()]
    did += [f"made the index files anew: {what}" for what in wrong]
    strangers = _note_lost(home, name, lost, damaged, whole)
    did += [f"corrected the catalog: {count} files" for count in [strangers] if count and not damaged]
    change = f"repaired, {len(damaged)} segments left out" if damaged else "repaired"
    act = (lambda writer: writer.mend(set(damaged), change)) if damaged or wrong else (lambda writer: writer.manifest)
    return {**changed(home, name, act, drop_unfinished), "did": did}, lost


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


def _note_lost(home: Home, name: str, lost: Lost, damaged: dict[str, str], whole: list) -> int:
    """Make failures of what damaged segments held; how many files the catalog had wrongly as indexed."""
    strangers = home.catalog.strangers(name, living_ids(whole, home.collection(name).manifest))
    sources = {image.uri: image.source for image, _ in lost}
    if damaged:
        sources |= {uri: record.source for uri, record in home.catalog.files_of(name, strangers).items()}
        home.catalog.record_files(name, [_failure(uri, source) for uri, source in sources.items()])
    return len(strangers)


def _failure(uri: str, source: str) -> FileRecord:
    sentence = f"{uri} was in a segment that is damaged; run `python manage.py retry-failures`."
    return FileRecord(uri, source, FAILED, reason=SEGMENT_DAMAGED, sentence=sentence)
