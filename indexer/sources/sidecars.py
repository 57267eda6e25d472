"""Files that belong to a photo and say something of it, by their names: XMP, Apple's edits, Google Takeout's JSON."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from indexer.embedded_metadata import read_metadata, read_takeout_sidecar, read_xmp_sidecar
from indexer.items import SourceCaption, captions_from
from indexer.sources import unused
from indexer.sources.text_pairing import folded
from indexer.sources.unused import Unused

SIDECARS = frozenset({".xmp", ".aae", ".thm"})
"""Endings of files that are nothing else."""
MAYBE_SIDECARS = SIDECARS | {".json"}
ORIGIN = "sidecar"
LARGEST = 4 << 20
TAKEOUT_LENGTH = 46
"""Google Takeout cuts the name of a JSON to so many characters before `.json`."""
_TAKEOUT = "supplemental-metadata"
"""What newer Takeouts put before `.json`, cut where the name would be too long."""
_COPY = re.compile(r"(.*)\((\d+)\)", re.DOTALL)
_EDITED = re.compile(
    "-(?:edited|bearbeitet|modifi\u00e9|editado|modificato|bewerkt|redigeret|edytowane|\u7f16\u8f91|\u5df2\u7f16\u8f91|\u7de8\u96c6\u6e08\u307f)(?=(?:\\(\\d+\\))?$)"
)
"""What Takeout adds to the name of a photo that was edited; its JSON is that of the photo itself."""


def sidecars_of(photos: Sequence[str], others: Sequence[str]) -> dict[str, list[str]]:
    """The sidecars of each photo that has any.

    A sidecar is named after its photo, with or without ending: `1.xmp`, `1.jpg.xmp`, `1.jpg.supplemental-metadata.json`.
    Google Takeout cuts long names, gives `1.jpg(2).json` to `1(2).jpg`, and has one JSON for `1.jpg` and `1-edited.jpg`.
    `1.mov.json` says nothing of `1.jpg`, nor `1.2.xmp` of a photo of that name.

    Args:
        photos: the names of the photos of a folder.
        others: the names of its other files.
    """
    candidates = [name for name in others if os.path.splitext(name)[1].lower() in MAYBE_SIDECARS]
    called = {name for candidate in candidates for name in _photos_meant(candidate)}
    photos_of: dict[str, list[str]] = defaultdict(list)
    for photo in photos if called else ():
        for name in (_own_names(photo) | _names_before_editing(photo)) & called:
            photos_of[name].append(photo)
    found: dict[str, list[str]] = {}
    for candidate in candidates:
        name = next((name for name in _photos_meant(candidate) if name in photos_of), None)
        for photo in photos_of[name] if name is not None else _cut_short(candidate, photos):
            if _is_json(candidate) or name in _own_names(photo):
                found.setdefault(photo, []).append(candidate)
    return found


def read_sidecars(photo: str, paths: Sequence[str], not_used: Unused) -> tuple[dict[str, Any], list[SourceCaption]]:
    """What a photo's sidecars say: columns, and the description as a caption. The first that says something counts.

    When a photo was taken, Takeout says in UTC: what the photo's own file says counts before that.

    Args:
        photo: the photo's path.
        paths: its sidecars.
        not_used: counts those that say nothing that is read.
    """
    columns: dict[str, Any] = {}
    for path in paths:
        found = _columns_of(path)
        if not found:
            not_used.add(unused.SIDECAR, path)
        columns = {**found, **columns}
    if str(columns.get("taken", "")).endswith("+00:00") and read_metadata(photo).get("taken"):
        del columns["taken"]
    return columns, captions_from([str(columns["description"])] if "description" in columns else [], ORIGIN)


def _columns_of(path: str) -> dict[str, Any]:
    ending = os.path.splitext(path)[1].lower()
    if ending not in (".xmp", ".json"):
        return {}
    try:
        with open(path, "rb") as file:
            content = file.read(LARGEST)
    except OSError:
        return {}
    if ending == ".xmp":
        return read_xmp_sidecar(content)
    columns = read_takeout_sidecar(content)
    columns.pop("title", None)  # the name of the photo's file
    return columns


def _own_names(photo: str) -> set[str]:
    """A photo's name, with and without its ending."""
    name = folded(photo)
    return {name, os.path.splitext(name)[0]}


def _names_before_editing(photo: str) -> set[str]:
    """The same of the photo of which Takeout has this edited one, if it is one."""
    stem, ending = os.path.splitext(folded(photo))
    plain = _EDITED.sub("", stem)
    return {plain + ending, plain}


def _photos_meant(sidecar: str) -> list[str]:
    """The photos that a sidecar's name may mean, the likeliest first."""
    stem = folded(os.path.splitext(sidecar)[0])
    if not _is_json(sidecar):
        return [stem]
    copy = _COPY.fullmatch(stem)
    if copy is None:
        return _without_takeout(stem)
    names = map(os.path.splitext, _without_takeout(copy[1]))
    return [stem, *(f"{name}({copy[2]}){ending}" for name, ending in names if ending)]


def _without_takeout(name: str) -> list[str]:
    """The name, and the name without what newer Takeouts put at its end, if it has that."""
    shorter, dot, last = name.rpartition(".")
    return [name, shorter] if dot and _TAKEOUT.startswith(last) else [name]


def _is_json(name: str) -> bool:
    return name.lower().endswith(".json")


def _cut_short(sidecar: str, photos: Sequence[str]) -> list[str]:
    """The one photo of which Takeout cut the name for its JSON; none where several begin so."""
    stem = os.path.splitext(sidecar)[0]
    if not _is_json(sidecar) or len(stem) != TAKEOUT_LENGTH:
        return []
    found = [photo for photo in photos if folded(photo).startswith(folded(stem))]
    return found if len(found) == 1 else []
