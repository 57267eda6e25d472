"""Files that belong to a photo and say something of it, by their names: XMP, Apple's edits, Google Takeout's JSON."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence

from indexer.sources.text_pairing import folded, names_of_photo

SIDECARS = frozenset({".xmp", ".aae", ".thm"})
"""Endings of files that are nothing else."""
MAYBE_SIDECARS = SIDECARS | {".json"}


def sidecars_of(photos: Sequence[str], others: Sequence[str]) -> dict[str, list[str]]:
    """The sidecars of each photo that has any.

    A sidecar's name begins with its photo's, with or without ending: `1.xmp`, `1.jpg.xmp`, `1.jpg.supplemental-metadata.json`.

    Args:
        photos: the names of the photos of a folder.
        others: the names of its other files.
    """
    candidates = [name for name in others if os.path.splitext(name)[1].lower() in MAYBE_SIDECARS]
    called = {name for candidate in candidates for name in names_of_photo(candidate)[1:]}
    photos_of: dict[str, list[str]] = defaultdict(list)
    for photo in photos if called else ():
        for name in {folded(photo), folded(os.path.splitext(photo)[0])} & called:
            photos_of[name].append(photo)
    found: dict[str, list[str]] = {}
    for candidate in candidates:
        name = next((name for name in names_of_photo(candidate)[1:] if name in photos_of), None)
        for photo in photos_of[name] if name is not None else ():
            found.setdefault(photo, []).append(candidate)
    return found
