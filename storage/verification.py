"""Whether a collection is what it should be: every byte, every count, every id."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from storage.errors import BrokenIndex, BrokenManifest, BrokenSegment, EmptyCollection
from storage.files import give_back, sha256_of
from storage.history import History
from storage.home import Home
from storage.index_files import CAPTIONS, IMAGES, living_rows
from storage.manifest import Manifest
from storage.segments.reader import Segment
from storage.vector_index.approximate import ApproximateIndex
from storage.vector_index.flat import FaissFlatIndex
from storage.vector_index.selection import open_index, read_choices, recorded_sums


def verify(home: Home, name: str) -> dict:
    """Reads all of the current version, and opens the older ones; what was counted and what is wrong, as plain values.

    Each of `problems` is {"where": "manifest", "segment", "index", "versions" or "catalog", "what": a sentence}. Where another
    version was published meanwhile, nothing is said of the one before: the new one is read.
    Raises UnknownCollection, EmptyCollection, UnreadableSegment or CatalogError.
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
    """The segments of a version that are whole, and all that is wrong with it."""
    folder = home.collection(name).folder
    whole, damaged = read_segments(folder, manifest)
    problems = [_problem("segment", what) for what in damaged.values()]
    if not damaged:
        problems += [_problem("segment", what) for what in id_problems(whole, manifest)]
        problems += [_problem("index", what) for what in index_problems(folder, manifest, whole)]
        # Ids from the next one on are of a run that ended before it could publish them: the next run goes on with it.
        strangers = home.catalog.strangers(name, living_ids(whole, manifest), below=manifest.next_image_id)
        problems += [_problem("catalog", f"{uri} is noted as indexed, and isn't in the collection") for uri in strangers]
    return whole, problems + [_problem("versions", what) for what in history_problems(folder, manifest).values()]


def read_segments(folder: Path, manifest: Manifest) -> tuple[list[Segment], dict[str, str]]:
    """The version's segments that are whole to the last byte, and of each other one, by name, what is wrong."""
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
    """Ids that two rows have, or that the manifest could hand out again, and counts that differ."""
    for kind, ids, following in (
        ("image", _joined(s.image_ids for s in segments), manifest.next_image_id),
        ("caption", _joined(s.caption_ids for s in segments), manifest.next_caption_id),
    ):
        if len(np.unique(ids)) != len(ids):
            yield f"an {kind} id is used twice" if kind == "image" else f"a {kind} id is used twice"
        if ids.max(initial=0) >= following:
            yield f"the {kind} id {ids.max()} would be given away again, from {following} on"
    living = len(living_ids(segments, manifest))
    if manifest.change and manifest.images != living:
        yield f"{living} images where the manifest says {manifest.images}"


def index_problems(folder: Path, manifest: Manifest, segments: list[Segment]) -> Iterator[str]:
    """What the index files lack, have besides, or have otherwise than the segments. Ids of images that were deleted since
    they were written may be in them."""
    dead = np.array(manifest.tombstones, np.int64)
    rows = [living_rows(segment, dead) for segment in segments]
    images = [(s.image_ids, s.image_vectors, living) for s, (living, _) in zip(segments, rows, strict=True)]
    captions = [(s.caption_ids, s.caption_vectors, told) for s, (_, told) in zip(segments, rows, strict=True)]
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


def history_problems(folder: Path, manifest: Manifest) -> dict[int, str]:
    """Older versions that could not be gone back to, and why."""
    found = {}
    for old in History(folder).manifests():
        missing = [name for name in old.segments if not (folder / "segments" / name / "segment.json").is_file()]
        missing += [old.index] if not (folder / "index" / old.index / IMAGES).is_file() else []
        if old.version < manifest.version and missing:
            found[old.version] = f"version {old.version} can't be gone back to: {missing[0]} is gone"
    return found


def verify_lines(report: dict) -> Iterator[str]:
    """The same for people."""
    yield f"{report['collection']}, version {report['version']}: {report['images']} images, {report['captions']} captions"
    if (sample := report.get("sample")) is not None:
        yield f"{sample['checked']} photos encoded anew, lowest cosine {sample['lowest_cosine']}, {sample['skipped']} skipped"
    for problem in report["problems"]:
        yield f"  {problem['where']}: {problem['what']}"
    yield "damage found: run `python manage.py repair`" if report["problems"] else "everything agrees"


def _differences(index: FaissFlatIndex | ApproximateIndex, dim: int, parts: list) -> Iterator[str]:
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
        places, there = _found(ids, segment_ids)
        known[places[there]] = True
        places, there = places[living], there[living]
        if not there.all():
            yield f"{(~there).sum()} vectors are missing, the first of id {segment_ids[living][~there][0]}"
        if isinstance(index, ApproximateIndex):
            continue  # coarser codes are nobody's
        same = (index.codes(order[places[there]]) == vectors[living[there]]).all(axis=1)
        give_back(vectors)
        if not same.all():
            yield f"{(~same).sum()} vectors differ, the first of id {segment_ids[living][there][~same][0]}"
    odd = ids[~known]
    strangers = np.unique(odd[~known[np.searchsorted(ids, odd)]])  # of an id that is in it twice the first is known
    if len(strangers):
        yield f"{len(strangers)} vectors of no row, the first of id {strangers[0]}"


def _found(ids: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where in ids, which go upwards, each wanted one is; and whether it is there at all."""
    places = np.minimum(np.searchsorted(ids, wanted), max(len(ids) - 1, 0))
    return places, ids[places] == wanted if len(ids) else np.zeros(len(wanted), bool)


def living_ids(segments: list[Segment], manifest: Manifest) -> np.ndarray:
    """The ids of the images that are not deleted, int64 upwards."""
    return np.setdiff1d(_joined(segment.image_ids for segment in segments), np.array(manifest.tombstones, np.int64))


def _joined(arrays) -> np.ndarray:
    return np.concatenate([np.empty(0, np.int64), *arrays])


def _problem(where: str, what: str) -> dict:
    return {"where": where, "what": what}


def _report(name: str, manifest: Manifest | None, segments: list[Segment], problems: list[dict]) -> dict:
    dead = np.array(manifest.tombstones if manifest else [], np.int64)
    counts = [[len(rows) for rows in living_rows(segment, dead)] for segment in segments]
    return {
        "collection": name,
        "version": manifest.version if manifest else None,
        "images": sum(i for i, _ in counts),
        "captions": sum(c for _, c in counts),
        "segments": len(segments),
        "problems": problems,
    }
