"""Measure hubness: images that are found for queries that have nothing to do with them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from search.evaluation.sampling import sample
from storage.snapshot import Snapshot

QUERIES, K = 1000, 10
MULTIPLE = 5.0
MOST_SHOWN = 20
BATCH = 64


def measure_hubness(snapshot: Snapshot, queries: int = QUERIES, k: int = K, seed: int = 0) -> dict:
    """Count how often each image is among the first k for captions of other images.

    The queries are a seeded sample of the collection's own captions, whose vectors are stored.

    Returns:
        `queries`, `k`, `expected` (the count if all images were found equally often), `skewness` (of the counts; the field's
        measure of hubness, 0 without hubs), `unseen` (the share of images, in percent, that are never found), and `hubs`:
        images that are found at least MULTIPLE times as often as expected, at most MOST_SHOWN, each with `id`, `uri`,
        `times` and the `share` of queries in percent. Without captions, or with one image, all is 0.
    """
    caption_ids = sample(snapshot.caption_ids(generated=False), queries, seed)
    image_ids = snapshot.image_ids()
    counts = np.zeros(len(image_ids), np.int64)
    deep = min(k, len(image_ids) - 1)
    if deep > 0:
        for start in range(0, len(caption_ids), BATCH):
            counts += _counts(snapshot, caption_ids[start : start + BATCH], image_ids, deep)
    expected = len(caption_ids) * max(deep, 0) / len(image_ids) if len(image_ids) else 0.0
    found = [i for i in np.lexsort((image_ids, -counts)) if counts[i] >= MULTIPLE * expected and counts[i] > 1][:MOST_SHOWN]
    records = snapshot.images(image_ids[found])
    return {
        "queries": len(caption_ids),
        "k": k,
        "expected": round(expected, 2),
        "skewness": round(skewness(counts), 2),
        "unseen": round(100 * float(np.mean(counts == 0)), 2) if len(counts) else 0.0,
        "hubs": [
            {
                "id": record.image_id,
                "uri": record.uri,
                "times": int(counts[i]),
                "share": float(np.round(100 * counts[i] / len(caption_ids), 2)),
            }
            for i, record in zip(found, records, strict=True)
        ],
    }


def skewness(counts: np.ndarray) -> float:
    """The third standardised moment; 0 if all counts are equal."""
    counts = np.asarray(counts, np.float64)
    spread = counts.std() if len(counts) else 0.0
    return float((((counts - counts.mean()) / spread) ** 3).mean()) if spread else 0.0


def hub_lines(report: dict) -> Iterator[str]:
    """Format what `measure_hubness` returned as lines of text."""
    if not report["queries"]:
        yield "Hubs: there are no captions to ask by."
        return
    yield (
        f"Hubs, by {report['queries']} captions of other photos: in the first {report['k']} a photo is expected "
        f"{report['expected']:g} times; skewness {report['skewness']:g}; {report['unseen']:g} % never turn up"
    )
    if not report["hubs"]:
        yield f"  none turns up {MULTIPLE:g} times as often as expected"
    for hub in report["hubs"]:
        yield f"  {hub['times']:5} times ({hub['share']:.1f} % of the queries)  {hub['id']}  {hub['uri']}"


def _counts(snapshot: Snapshot, caption_ids: np.ndarray, image_ids: np.ndarray, k: int) -> np.ndarray:
    """How often each image is among the k nearest of captions of other images, int64 [images]."""
    owners = np.array([caption.image_id for caption in snapshot.captions(caption_ids)])
    _, found = snapshot.image_index.search(snapshot.caption_vectors(caption_ids), k + 1)
    others = found != owners[:, None]
    first = others & (np.cumsum(others, axis=1) <= k) & (found >= 0)
    return np.bincount(np.searchsorted(image_ids, found[first]), minlength=len(image_ids))
