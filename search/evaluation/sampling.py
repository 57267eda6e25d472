"""Seeded samples of the queries that a collection offers."""

from __future__ import annotations

import numpy as np

from storage import CaptionRecord
from storage.snapshot import Snapshot


def captions_by_photo(snapshot: Snapshot, language: str) -> dict[int, list[CaptionRecord]]:
    """People's captions in one language of every photo that has any, by image id; both in the order of ids."""
    own = {
        image_id: sorted(
            (c for c in captions if c.language == language and not c.generated), key=lambda caption: caption.caption_id
        )
        for image_id, captions in snapshot.captions_of(snapshot.image_ids()).items()
    }
    return {image_id: own[image_id] for image_id in sorted(own) if own[image_id]}


def sample(ids: np.ndarray, limit: int | None, seed: int) -> np.ndarray:
    """A seeded sample of at most `limit` ids, or all of them if it is None; int64, ascending."""
    ids = np.sort(ids)
    if limit is None or limit >= len(ids):
        return ids
    return np.sort(np.random.default_rng(seed).choice(ids, limit, replace=False))
