"""Seeded samples of what a collection can be asked by."""

from __future__ import annotations

import numpy as np


def captions_by_photo(snapshot, language: str) -> dict[int, list]:
    """The captions in that language of every photo that has any: image id -> records, both in the order of ids."""
    own = {
        image_id: sorted((c for c in captions if c.language == language), key=lambda caption: caption.caption_id)
        for image_id, captions in snapshot.captions_of(snapshot.image_ids()).items()
    }
    return {image_id: own[image_id] for image_id in sorted(own) if own[image_id]}


def sample(ids: np.ndarray, limit: int | None, seed: int) -> np.ndarray:
    """At most `limit` of the ids, all where it is None, rising."""
    ids = np.sort(ids)
    if limit is None or limit >= len(ids):
        return ids
    return np.sort(np.random.default_rng(seed).choice(ids, limit, replace=False))
