"""Verification of a collection: every byte, every count, every id."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from storage.errors import BrokenIndex, BrokenManifest, BrokenSegment, BrokenTexts, EmptyCollection
from storage.files import give_back, sha256_of
from storage.history import History
from storage.home import Home
from storage.index_files import CAPTIONS, IMAGES
from storage.manifest import Manifest
from storage.photo_texts import FILE, PhotoTexts
from storage.photo_texts import FOLDER as TEXTS
from storage.segments.living import living_images, living_rows
from storage.segments.reader import Segment
from storage.vector_index.approximate import ApproximateIndex
from storage.vector_index.flat import FaissFlatIndex
from storage.vector_index.selection import open_index, read_choices, recorded_sums

IndexedPart = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Of one segment: ids int64 [n], vectors [n, D], and the rows that are alive, int64 [a]."""


def verify(home: Home, name: str) -> dict:
    """Read all of the current version, and look for the files of older ones.

    If another version was published meanwhile, that one is read and reported instead.

    Returns:
        Counts and `problems`, as JSON values. A problem has "where" ("manifest", "segment", "index", "texts",
        "versions" or "catalog") and "what", a sentence.

    Raises:
        UnknownCollection: There is no such collection.
        EmptyCollection: Nothing was published.
        UnreadableSegment: The system refuses to read a segment at the moment.
        CatalogError: The catalog's database refused.
    """
    collection = home.collection(name)
    while True:
        try:
            manifest = collection.manifest
            if not manifest.version:
                raise EmptyCollection(name)
            whole, problems = _examined(home, name, manifest)
            if not problems or collection.manifest.version == manifest.version:
                return _report(name, manifest, whole, problems)
        except BrokenManifest as error:
            return _report(name, None, [], [_problem("manifest", str(error))])


def _examined(home: Home, name: str, manifest: Manifest) -> tuple[list[Segment], list[dict]]:
    """The segments of a version that are whole, and all problems of the version."""
    folder = home.collection(name).folder
    whole, damaged = read_segments(folder, manifest)
    problems = [_problem("segment", what) for what in damaged.values()]
    if not damaged:
        problems += [_problem("segment", what) for what in id_problems(whole, manifest)]
        problems += [_problem("index", what) for what in index_problems(folder, manifest, whole)]
        # Ids from the next one on are of a run that ended before it could publish them: the next run goes on with it.
        orphaned = home.catalog.orphaned_files(name, living_ids(whole, manifest), below=manifest.next_image_id)
        problems += [_problem("catalog", f"{uri} is noted as indexed, and isn't in the collection") for uri in orphaned]
    problems += [_problem("texts", what) for what in text_problems(folder, manifest)]
    return whole, problems + [_problem("versions", what) for what in history_problems(folder, manifest).values()]


def read_segments(folder: Path, manifest: Manifest) -> tuple[list[Segment], dict[str, str]]:
    """Read all bytes of a version's segments: those that are whole, and what is wrong with the others, by name."""
    whole, damaged = [], {}
    for name in manifest.segments:
        try:
            segment = Segment(folder / "segments" / name, held=False)
            segment.verify()
            if segment.info.fingerprint != manifest.fingerprint:
                raise BrokenSegment(segment.folder, "made by other weights than the manifest says")
            whole.append(segment)
        except BrokenSegment as error:
            damaged[name] = str(error)
    return whole, damaged


def id_problems(segments: list[Segment], manifest: Manifest) -> Iterator[str]:
    """Find ids that two rows have, ids that the manifest would give away again, and counts that differ."""
    for kind, ids, following in (
        ("image", _concatenated(s.image_ids for s in segments), manifest.next_image_id),
        ("caption", _concatenated(s.caption_ids for s in segments), manifest.next_caption_id),
    ):
        if len(np.unique(ids)) != len(ids):
            yield f"an {kind} id is used twice" if kind == "image" else f"a {kind} id is used twice"
        if ids.max(initial=0) >= following:
            yield f"the {kind} id {ids.max()} would be given away again, from {following} on"
    living = len(living_ids(segments, manifest))
    if manifest.change and manifest.images != living:
        yield f"{living} images where the manifest says {manifest.images}"


def index_problems(folder: Path, manifest: Manifest, segments: list[Segment]) -> Iterator[str]:
    """Find differences between the index files and the segments.

    The index files may hold ids of images that were deleted after they were written.
    """
    dead = np.array(manifest.tombstones, np.int64)
    rows = living_rows(segments, dead)
    images = [(s.image_ids, s.image_vectors, living) for s, (living, _) in zip(segments, rows, strict=True)]
    captions = [(s.caption_ids, s.caption_vectors, living) for s, (_, living) in zip(segments, rows, strict=True)]
    for file, parts in ((IMAGES, images), (CAPTIONS, captions)):
        path = folder / "index" / manifest.index / file
        try:
            index = open_index(path.parent, path.stem, read_choices(path.parent))
        except BrokenIndex as error:
            yield str(error)
            continue
        yield from (f"{path}: {what}" for what in _differences(index, manifest.dim, parts))
        try:
            if recorded_sums(path.parent).get(path.stem, "") not in ("", sha256_of(path)):
                yield f"{path}: is not what was written"
        except FileNotFoundError:
            yield f"{path}: is gone"


def text_problems(folder: Path, manifest: Manifest) -> Iterator[str]:
    """Say what is wrong with the texts that were read in photos."""
    try:
        PhotoTexts.open(folder, manifest.texts)
    except BrokenTexts as error:
        yield str(error)


def history_problems(folder: Path, manifest: Manifest) -> dict[int, str]:
    """Older versions that can't be rolled back to, and why, by version."""
    found = {}
    for old in History(folder).manifests():
        missing = [name for name in old.segments if not (folder / "segments" / name / "segment.json").is_file()]
        missing += [old.index] if not (folder / "index" / old.index / IMAGES).is_file() else []
        missing += [old.texts] if old.texts and not (folder / TEXTS / old.texts / FILE).is_file() else []
        if old.version < manifest.version and missing:
            found[old.version] = f"version {old.version} can't be gone back to: {missing[0]} is gone"
    return found


def verify_lines(report: dict) -> Iterator[str]:
    """Format a `verify` report for people."""
    yield f"{report['collection']}, version {report['version']}: {report['images']} images, {report['captions']} captions"
    if (sample := report.get("sample")) is not None:
        yield f"{sample['checked']} photos encoded anew, lowest cosine {sample['lowest_cosine']}, {sample['skipped']} skipped"
    for problem in report["problems"]:
        yield f"  {problem['where']}: {problem['what']}"
    yield "damage found: run `python manage.py repair`" if report["problems"] else "everything agrees"


def _differences(index: FaissFlatIndex | ApproximateIndex, dim: int, parts: list[IndexedPart]) -> Iterator[str]:
    """Compare an index with the rows that it should hold."""
    if index.dim != dim:
        yield f"vectors of {index.dim} numbers, not {dim}"
        return
    ids = index.ids()
    order = np.argsort(ids)
    ids = ids[order]
    if (ids[1:] == ids[:-1]).any():
        yield "an id is in it twice"
    known = np.zeros(len(ids), bool)
    for segment_ids, vectors, living in parts:
        positions, there = _found(ids, segment_ids)
        known[positions[there]] = True
        positions, there = positions[living], there[living]
        if not there.all():
            yield f"{(~there).sum()} vectors are missing, the first of id {segment_ids[living][~there][0]}"
        if isinstance(index, ApproximateIndex):
            continue  # coarser codes equal no vector
        same = (index.codes(order[positions[there]]) == vectors[living[there]]).all(axis=1)
        give_back(vectors)
        if not same.all():
            yield f"{(~same).sum()} vectors differ, the first of id {segment_ids[living][there][~same][0]}"
    unknown = ids[~known]
    orphaned = np.unique(unknown[~known[np.searchsorted(ids, unknown)]])  # of an id that is in it twice the first is known
    if len(orphaned):
        yield f"{len(orphaned)} vectors of no row, the first of id {orphaned[0]}"


def _found(ids: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Look up ids among ids that are sorted upwards: their positions, int64, and which of them are there, bool."""
    positions = np.minimum(np.searchsorted(ids, wanted), max(len(ids) - 1, 0))
    return positions, ids[positions] == wanted if len(ids) else np.zeros(len(wanted), bool)


def living_ids(segments: list[Segment], manifest: Manifest) -> np.ndarray:
    """The ids of the images that are not deleted, int64, sorted upwards."""
    return living_images(segments, np.array(manifest.tombstones, np.int64))


def _concatenated(arrays: Iterable[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.empty(0, np.int64), *arrays])


def _problem(where: str, what: str) -> dict:
    return {"where": where, "what": what}


def _report(name: str, manifest: Manifest | None, segments: list[Segment], problems: list[dict]) -> dict:
    dead = np.array(manifest.tombstones if manifest else [], np.int64)
    counts = [[len(rows) for rows in own] for own in living_rows(segments, dead)]
    return {
        "collection": name,
        "version": manifest.version if manifest else None,
        "images": sum(i for i, _ in counts),
        "captions": sum(c for _, c in counts),
        "segments": len(segments),
        "problems": problems,
    }
