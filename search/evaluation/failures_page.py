"""One HTML page with the worst queries of an evaluation. Its photos are small and embedded, so it needs no other file."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, select_autoescape

from encoder.inputs.pixels import decode
from search.evaluation.evaluate import DEEPEST_KEPT, Answer
from storage.snapshot import Snapshot

MOST = 30
FOUND = 6
SIDE = 160


def failures_page(report: dict, answers: Iterable[Answer], snapshot: Snapshot, most: int = MOST) -> str:
    """Render the `most` worst queries of each direction and language as HTML.

    Args:
        report: what `evaluate` returned.
        answers: what it kept, all with one number of re-ranked candidates.
        snapshot: what it measured.
        most: the largest number of queries of a direction and language.
    """
    groups: dict[tuple[str, str], list[Answer]] = {}
    rerank = 0
    for answer in answers:
        groups.setdefault((answer.topic.direction, answer.topic.language), []).append(answer)
        rerank = answer.rerank
    thumbnails = _Thumbnails(snapshot)
    rows = []
    for (direction, language), own in groups.items():
        failed = sorted((answer for answer in own if answer.rank > 1), key=lambda answer: -answer.rank)[:most]
        rows.append(
            {
                "direction": direction.replace("_", " "),
                "language": language,
                "queries": len(own),
                "failures": [_failure(answer, snapshot, thumbnails) for answer in failed],
            }
        )
    templates = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=select_autoescape(["html"]))
    return templates.get_template("failures_page.html").render(
        groups=rows, most=most, rerank=rerank, images=report["images"], mode=report["mode"], protocol=report["protocol"]
    )


class _Thumbnails:
    """Thumbnails as data URIs, each made once."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._made: dict[int, str] = {}

    def __getitem__(self, image_id: int) -> str:
        if image_id not in self._made:
            image = decode(self._snapshot.thumbnail(image_id))
            image.thumbnail((SIDE, SIDE))
            jpeg = BytesIO()
            image.save(jpeg, "JPEG", quality=70)
            self._made[image_id] = "data:image/jpeg;base64," + base64.b64encode(jpeg.getvalue()).decode()
        return self._made[image_id]


def _failure(answer: Answer, snapshot: Snapshot, thumbnails: _Thumbnails) -> dict:
    topic = answer.topic
    relevant = set(topic.relevant.tolist())
    found = [
        {"score": f"{score:.3f}", "right": item_id in relevant, "id": item_id}
        for item_id, score in zip(answer.ids[:FOUND].tolist(), answer.scores[:FOUND].tolist(), strict=True)
    ]
    failure = {
        "text": topic.caption.text if topic.caption is not None else None,
        "name": Path(snapshot.images([topic.image_id])[0].uri).name,
        "photo": thumbnails[topic.image_id],
        "rank": f"not in the first {DEEPEST_KEPT}" if math.isinf(answer.rank) else f"rank {answer.rank:.0f}",
    }
    if topic.to == "images":
        return failure | {"found": [hit | {"photo": thumbnails[hit["id"]]} for hit in found]}
    texts = {c.caption_id: c.text for c in snapshot.captions(sorted(relevant | {hit["id"] for hit in found}))}
    found = [hit | {"text": texts[hit["id"]]} for hit in found]
    return failure | {"found": found, "right": [texts[caption_id] for caption_id in sorted(relevant)]}
