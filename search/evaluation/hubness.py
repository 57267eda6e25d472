"""Hubs: images that turn up for queries that have nothing to do with them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from search.evaluation.sampling import sample

QUERIES, K = 1000, 10
MULTIPLE = 5.0
MOST_SHOWN = 20
BATCH = 64


def measure_hubness(snapshot, queries: int = QUERIES, k: int = K, seed: int = 0) -> dict:
    """How often each image is among the first k for captions of other images.

    The bank of queries is a seeded sample of the collection's own captions, whose vectors are there already.

    Returns:
        `queries`, `k`, `expected` (the count if all images turned up equally often), `skewness` (of the counts; the field's
        measure of hubness, 0 where there are no hubs), `unseen` (the share of images, in percent, that never turn up), and
        `hubs`: images that turn up at least MULTIPLE times as often as expected, at most MOST_SHOWN, each with `id`, `uri`,
        `times` and the `share` of queries in percent. Without captions or with one image, all is 0.
    """
    asked = sample(snapshot.caption_ids(), queries, seed)
    image_ids = snapshot.image_ids()
    counts = np.zeros(len(image_ids), np.int64)
    deep = min(k, len(image_ids) - 1)
    if deep > 0:
        for start in range(0, len(asked), BATCH):
            counts += _counts(snapshot, asked[start : start + BATCH], image_ids, deep)
    expected = len(asked) * max(deep, 0) / len(image_ids) if len(image_ids) else 0.0
    found = [i for i in np.lexsort((image_ids, -counts)) if counts[i] >= MULTIPLE * expected and counts[i] > 1][:MOST_SHOWN]
    records = snapshot.images(image_ids[found])
    return {
        "queries": len(asked),
        "k": k,
        "expected": round(expected, 2),
        "skewness": round(skewness(counts), 2),
        "unseen": round(100 * float(np.mean(counts == 0)), 2) if len(counts) else 0.0,
        "hubs": [
            {"id": record.image_id, "uri": record.uri, "times": int(counts[i]), "share": round(100 * counts[i] / len(asked), 2)}
            for i, record in zip(found, records, strict=True)
        ],
    }


def skewness(counts: np.ndarray) -> float:
    """The third standardised moment; 0 where all counts are equal."""
    counts = np.asarray(counts, np.float64)
    spread = counts.std() if len(counts) else 0.0
    return float((((counts - counts.mean()) / spread) ** 3).mean()) if spread else 0.0


def hub_lines(report: dict) -> Iterator[str]:
    """The same for people."""
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


def _counts(snapshot, caption_ids: np.ndarray, image_ids: np.ndarray, k: int) -> np.ndarray:
    """How often each image is among the k nearest to these captions, its own captions left out; int64 [images]."""
    owners = np.array([caption.image_id for caption in snapshot.captions(caption_ids)])
    _, found = snapshot.image_index.search(snapshot.caption_vectors(caption_ids), k + 1)
    others = found != owners[:, None]
    first = others & (np.cumsum(others, axis=1) <= k) & (found >= 0)
    return np.bincount(np.searchsorted(image_ids, found[first]), minlength=len(image_ids))
