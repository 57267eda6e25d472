"""What `build-index` would do, without a model and without writing anything: `build-index --dry-run`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encoder.inputs.image_inputs import features_in
from indexer.build import RECORDS_AT_ONCE
from indexer.items import Failure, one_line
from indexer.known_images import KnownImage
from indexer.photo_loader import sha256_of_both
from indexer.plan import Plan
from indexer.work import WorkItem
from storage.manifest import Manifest
from storage.photo_uri import PhotoUri
from storage.segments.builder import SegmentBuilder
from storage.segments.segment_set import SegmentSet
from storage.status import unused_lines

if TYPE_CHECKING:
    from indexer.sources.base import Source
    from storage.collection import Collection
    from storage.home import Home

BYTES_AT_ONCE = 2**20
NAMED = 20
"""How many photos of each kind the report names."""


@dataclass
class Group:
    """Photos to which the same would happen: how many, and the uris of the first `NAMED`."""

    count: int = 0
    uris: list[str] = field(default_factory=list)

    def add(self, uri: str) -> None:
        """Count a photo."""
        self.count += 1
        if len(self.uris) < NAMED:
            self.uris.append(uri)


@dataclass
class Preview:
    """What a run would do.

    Attributes:
        added: photos that are new.
        replaced: photos whose content, captions or metadata changed.
        moved: photos that are elsewhere now; they keep their vectors.
        unchanged: photos that stay as they are.
        removed: photos that the source has no more.
        missing: photos that the source names and that are not there, or can't be opened.
        refused: True if `build-index` would refuse to remove so many.
        problems: what in the source can't be used.
        unused: what the source holds and is not used, counted, as JSON values.
    """

    added: Group = field(default_factory=Group)
    replaced: Group = field(default_factory=Group)
    moved: Group = field(default_factory=Group)
    unchanged: Group = field(default_factory=Group)
    removed: Group = field(default_factory=Group)
    missing: Group = field(default_factory=Group)
    refused: bool = False
    problems: list[Failure] = field(default_factory=list)
    unused: list[dict[str, Any]] = field(default_factory=list)

    @property
    def groups(self) -> dict[str, Group]:
        """The groups by name."""
        return {name: value for name, value in vars(self).items() if isinstance(value, Group)}


class _NoWriter:
    """What `Plan` needs of a writer, where nothing is written: no lock, and no work of an interrupted run."""

    def __init__(self, collection: Collection):
        self.manifest: Manifest = collection.manifest
        self.unfinished: SegmentBuilder | None = None
        self._adopted = SegmentSet([])

    @property
    def adopted(self) -> SegmentSet:
        """No segment."""
        return self._adopted

    def tombstone(self, image_id: int) -> None:
        """Do nothing."""

    def new_image_id(self) -> int:
        """Give no id: nothing is encoded."""
        raise NotImplementedError

    new_caption_id = new_image_id


def preview(home: Home, name: str, source: Source, limit: int | None = None, missing: str = "guard") -> Preview:
    """Say what `build_index` would do with a source.

    It decides as `build_index` does, by size, time, captions and content, and decodes nothing: that a photo is damaged is only
    found when it is read. What an interrupted run encoded counts as not there.

    Args:
        home: the home; it is not written.
        name: the collection's name; it need not exist.
        source: the photos and captions.
        limit: take only the first photos of the source; then nothing would be removed.
        missing: as `build_index` takes it.

    Raises:
        BrokenManifest, BrokenSegment: the collection is damaged.
        CatalogError: the catalog can't be used.
    """
    collection = home.collection(name) if name in home.collection_names() else None
    found = Preview(problems=list(source.problems), unused=source.unused.as_json())
    if collection is None:
        for item in islice(source, limit):
            _add_new(found, PhotoUri(item.uri, item.member))
        return found
    plan = Plan(collection, _NoWriter(collection), rebuild=False)
    for work in _sorted_out(home, name, plan, source, limit, found):
        _add_known_or_new(found, plan, work)
    if limit is None and missing != "keep":
        _add_removed(found, plan, source, missing)
    return found


def _sorted_out(home: Home, name: str, plan: Plan, source: Source, limit: int | None, found: Preview) -> Iterator[WorkItem]:
    """The photos that are not plainly unchanged; the others are counted."""
    remaining = iter(plan.work_list(source, limit))
    while part := list(islice(remaining, RECORDS_AT_ONCE)):
        files = home.catalog.files_of(name, [one.uri for one in part])
        for work in part:
            plan.known.mark_named(work.uri)
            photo, features = str(work.photo_uri.path), features_in(work.item.metadata)
            read = [[photo], [photo, features]] if features and features != photo else [[photo]]  # the model decides which
            if any(plan.is_unchanged(work, files.get(work.uri), paths) for paths in read):
                found.unchanged.add(work.uri)
            else:
                yield work


def _add_known_or_new(found: Preview, plan: Plan, work: WorkItem) -> None:
    known = plan.known.get(work.uri)
    if known is None:
        _add_new(found, work.photo_uri)
        return
    try:
        same = plan.content_to_skip(work) in _contents(work)
    except OSError as error:
        found.missing.add(work.uri)
        is_gone = isinstance(error, FileNotFoundError) or work.photo_uri.member is not None
        plan.known.mark_named(work.uri, named=not is_gone)  # what is there and can't be read stays in the collection
        return
    (found.unchanged if same else found.replaced).add(work.uri)


def _contents(work: WorkItem) -> list[str]:
    """What may be recorded as the hash of a photo: its own, and that of the photo with a detector's features.

    Raises:
        OSError: they can't be read.
    """
    own, features = _sha256_of(work.photo_uri), features_in(work.item.metadata)
    return [own] if features is None else [own, sha256_of_both(own, _sha256_of(PhotoUri(Path(features))))]


def _sha256_of(photo: PhotoUri) -> str:
    """The hash of a photo's bytes. Raises OSError if they can't be read."""
    digest = hashlib.sha256()
    with photo.open() as file:
        while part := file.read(BYTES_AT_ONCE):
            digest.update(part)
    return digest.hexdigest()


def _add_new(found: Preview, photo: PhotoUri) -> None:
    (found.added if photo.exists() else found.missing).add(photo.uri)


def _add_removed(found: Preview, plan: Plan, source: Source, missing: str) -> None:
    """Count what the source has no more, apart from what was moved."""
    root = str(source.root)
    gone = plan.vanished(root, source.hidden_prefixes)
    moved = _moved(plan, source, gone) if gone and found.added.count else {}
    for image in gone:
        if image.image_id in moved:
            found.moved.add(moved[image.image_id])
        else:
            found.removed.add(image.uri)
    found.added = _without(found.added, moved)
    found.refused = missing == "guard" and found.removed.count * 2 > plan.published_count(root)


def _moved(plan: Plan, source: Source, gone: list[KnownImage]) -> dict[int, str]:
    """Photos that are new in name and have the content of one that is gone: id of that image -> uri now."""
    contents = {image.sha256: image.image_id for image in gone}
    sizes: set[int | None] = {record.bytes for image in gone if image.rows for record in image.rows.images([image.image_id])}
    sizes.add(None)  # the size of a photo in a Parquet file is not known before it is read
    moved: dict[int, str] = {}
    for item in source:
        photo = PhotoUri(item.uri, item.member)
        if plan.known.get(photo.uri) is not None:
            continue
        try:
            image_id = contents.get(_sha256_of(photo)) if photo.state()[0] in sizes else None
        except OSError:
            continue
        if image_id is not None:
            moved.setdefault(image_id, photo.uri)
    return moved


def _without(group: Group, moved: dict[int, str]) -> Group:
    """The group without the photos that were moved."""
    gone = {*moved.values()}
    return Group(group.count - len(gone), [uri for uri in group.uris if uri not in gone])


def preview_json(found: Preview, collection: str) -> dict[str, Any]:
    """The whole preview as JSON values."""
    problems = [{"uri": str(one.uri), "reason": one.reason, "sentence": one.sentence} for one in found.problems]
    groups = {name: {"count": group.count, "uris": group.uris} for name, group in found.groups.items()}
    rest = {"refused": found.refused, "problems": problems, "unused": found.unused}
    return {"collection": collection, "dry_run": True, **groups, **rest}


def preview_lines(found: Preview, collection: str) -> Iterator[str]:
    """Format a preview for people: the counts, then the first photos of each kind."""
    counts = ", ".join(f"{group.count} {name}" for name, group in found.groups.items())
    yield f"{collection} would have: {counts}; {len(found.problems)} problems in the source. Nothing was written."
    if found.refused:
        yield "build-index would refuse this: more than half of the source's photos would be removed (see --drop-missing)."
    shown = (name for name in found.groups if name != "unchanged")
    yield from chain.from_iterable(_lines_of(name, found.groups[name]) for name in shown)
    yield from (f"  {problem.reason}: {problem.sentence}" for problem in found.problems[:NAMED])
    yield from unused_lines(found.unused)


def _lines_of(name: str, group: Group) -> Iterator[str]:
    yield from (f"  {name}: {one_line(uri)}" for uri in group.uris)
    if group.count > len(group.uris):
        yield f"  {name}: and {group.count - len(group.uris)} more"
