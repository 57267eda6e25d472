"""One page with the worst queries of an evaluation, to be looked at: photos are small and inside it, nothing is fetched."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, select_autoescape

from encoder.inputs.pixels import decode
from search.evaluation.evaluate import DEEPEST_KEPT, Answer

MOST = 30
FOUND = 6
SIDE = 160


def failures_page(report: dict, answers: Iterable[Answer], snapshot, most: int = MOST) -> str:
    """HTML of the `most` worst queries of each direction and language.

    Args:
        report: what `evaluation.evaluate` gave.
        answers: what it kept, of one K.
    """
    groups: dict[tuple[str, str], list[Answer]] = {}
    rerank = 0
    for answer in answers:
        groups.setdefault((answer.question.direction, answer.question.language), []).append(answer)
        rerank = answer.rerank
    photos = _Photos(snapshot)
    shown = []
    for (direction, language), own in groups.items():
        failed = sorted((answer for answer in own if answer.rank > 1), key=lambda answer: -answer.rank)[:most]
        shown.append(
            {
                "direction": direction.replace("_", " "),
                "language": language,
                "queries": len(own),
                "failures": [_failure(answer, snapshot, photos) for answer in failed],
            }
        )
    pages = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=select_autoescape(["html"]))
    return pages.get_template("failures_page.html").render(
        groups=shown, most=most, rerank=rerank, images=report["images"], mode=report["mode"], protocol=report["protocol"]
    )


class _Photos:
    """Thumbnails as data URIs, each made once."""

    def __init__(self, snapshot) -> None:
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


def _failure(answer: Answer, snapshot, photos: _Photos) -> dict:
    question = answer.question
    right = set(question.relevant.tolist())
    found = [
        {"score": f"{score:.3f}", "right": own in right, "id": own}
        for own, score in zip(answer.ids[:FOUND].tolist(), answer.scores[:FOUND].tolist(), strict=True)
    ]
    failure = {
        "text": question.caption.text if question.caption is not None else None,
        "name": Path(snapshot.images([question.image_id])[0].uri).name,
        "photo": photos[question.image_id],
        "rank": f"not in the first {DEEPEST_KEPT}" if math.isinf(answer.rank) else f"rank {answer.rank:.0f}",
    }
    if question.to == "images":
        return failure | {"found": [hit | {"photo": photos[hit["id"]]} for hit in found]}
    texts = {c.caption_id: c.text for c in snapshot.captions(sorted(right | {hit["id"] for hit in found}))}
    found = [hit | {"text": texts[hit["id"]]} for hit in found]
    return failure | {"found": found, "right": [texts[own] for own in sorted(right)]}
