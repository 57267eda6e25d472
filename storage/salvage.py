"""Reading what is left of a damaged collection."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from storage.errors import BrokenManifest, BrokenSegment
from storage.files import TEMPORARY
from storage.manifest import Manifest
from storage.photo_texts import FOLDER as TEXTS
from storage.segments.builder import SegmentInfo
from storage.segments.reader import Segment
from storage.segments.segment_set import SegmentSet


def salvaged(folder: Path) -> SegmentSet:
    """The published rows of a collection that can be read; they are held in memory.

    If the manifest is damaged, these are the rows of every whole segment. Tombstones are not known then: of two images with
    the same uri, the one with the higher id is the living one.
    """
    try:
        manifest = Manifest.load(folder / "manifest.json")
        names, tombstones = list(manifest.segments), manifest.tombstones
    except BrokenManifest:
        names, tombstones = _names(folder), ()
    segments = []
    for name in names:
        with suppress(BrokenSegment):
            segments.append(Segment(folder / "segments" / name))
    return SegmentSet(segments, tombstones)


def guessed_manifest(folder: Path) -> Manifest:
    """A manifest to replace a damaged one: without images, and with numbers higher than any in the collection's files."""
    infos = []
    for name in _names(folder):
        with suppress(BrokenSegment):
            infos.append(SegmentInfo.load(folder / "segments" / name))
    versions, texts = ([int(p.name) for p in (folder / kind).glob("*") if p.name.isdigit()] for kind in ("index", TEXTS))
    return Manifest(
        version=max([1, *versions, *texts, *(info.base_version + 1 for info in infos)]),
        next_image_id=max([1, *(info.last_image_id + 1 for info in infos)]),
        next_caption_id=max([1, *(info.last_caption_id + 1 for info in infos)]),
        texts=str(max(texts)) if texts else "",
    )


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "segments").glob("*") if not path.name.startswith(TEMPORARY))
