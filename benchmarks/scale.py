"""Measures storage with a large collection: `python -m benchmarks.scale --images 1000000 --home FOLDER`.

Writes a synthetic collection of --images photos with two captions each through the real storage code, then measures each step:
write, publish, open, search, delete 1 %, search again, add a few, compact, verify. Vectors (512 numbers, as those of opt-mini)
and tokens (4 x 32, small to spare the disk) come from a seeded generator; nothing is encoded. Each step runs in a process of
its own and has its own peak of memory: resident, and anonymous, which the system can't free as it can the pages of mapped
files. Prints a Markdown table.
"""

from __future__ import annotations

import json
import multiprocessing
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np

from benchmarks.memory import Peak

if TYPE_CHECKING:
    from multiprocessing.queues import SimpleQueue

    from storage.collection import Collection
    from storage.segments.builder import SegmentBuilder
    from storage.writer import Writer

DIM, TOKEN_SHAPE = 512, (4, 32)
SEGMENT_IMAGES, BATCH = 4096, 512
CAPTIONS_EACH = 2
TOPICS = 1000
QUERIES = 40
NAME, FINGERPRINT = "scale", "synthetic0000000"
JPEG = b"\xff\xd8" + bytes(636) + b"\xff\xd9"


def vectors_of(ids: np.ndarray, kind: int) -> np.ndarray:
    """Unit vectors float32 [n, D] for image ids, in clusters as those of photos.

    Args:
        ids: image ids [n].
        kind: 0 is the photo; 1 and 2 are its captions, which are near it, and all shifted in one direction, as texts are.
    """
    topics = np.random.default_rng(1).standard_normal((TOPICS, DIM), dtype=np.float32)
    gap = np.random.default_rng(2).standard_normal(DIM, dtype=np.float32)
    photo = topics[ids % TOPICS] + np.random.default_rng([3, int(ids[0])]).standard_normal((len(ids), DIM), dtype=np.float32)
    if kind:
        photo += gap + np.random.default_rng([4, kind, int(ids[0])]).standard_normal((len(ids), DIM), dtype=np.float32)
    return photo / np.linalg.norm(photo, axis=1, keepdims=True)


def write(home: Path, images: int) -> dict:
    """Write the segments of the collection: durable, not yet visible."""
    from storage import Home

    collection = Home(home).create_collection(NAME)
    with collection.writer(FINGERPRINT) as writer:
        for start in range(0, images, SEGMENT_IMAGES):
            segment = writer.begin_segment(DIM, TOKEN_SHAPE)
            for at in range(start, min(start + SEGMENT_IMAGES, images), BATCH):
                _add(writer, segment, min(BATCH, images - at))
            segment.finish()
    return {"bytes": _size(home)}


def _add(writer: Writer, segment: SegmentBuilder, count: int) -> None:
    from storage import CaptionRecord, ImageRecord

    ids = [writer.new_image_id() for _ in range(count)]
    tokens = np.zeros((count, *TOKEN_SHAPE), np.float16)
    records = [
        ImageRecord(i, f"/photos/{i // 1000:06d}/{i:09d}.jpg", f"{i:064x}", 640, 480, 90_000, "/photos", {"number": i})
        for i in ids
    ]
    segment.add_images(records, vectors_of(np.array(ids), 0), tokens, [JPEG] * count)
    for kind, language, text in ((1, "en", "A synthetic photo, number {}, described."), (2, "zh", "第 {} 张合成照片。")):
        captions = [CaptionRecord(writer.new_caption_id(), i, language, text.format(i), "scale") for i in ids]
        segment.add_captions(captions, vectors_of(np.array(ids), kind))


def publish(home: Path, images: int) -> dict:
    """Publish the first version, with exact search at any cost; the later versions keep its budget."""
    from storage.vector_index.selection import IndexBudget

    with _collection(home).writer(FINGERPRINT) as writer:
        writer.budget = IndexBudget(max_ms=1e6)
        writer.publish()
    return {"bytes": _size(home), **_choices(home)}


def reopen(home: Path, images: int) -> dict:
    """Open the version for reading, as `serve` does."""
    snapshot = _collection(home).open_snapshot()
    return {"images": snapshot.image_count, "captions": snapshot.caption_count}


def search(home: Path, images: int) -> dict:
    """Search photos by caption and captions by photo, one by one, and fetch the photos' records; median milliseconds."""
    snapshot = _collection(home).open_snapshot()
    image_ids = np.linspace(1, images, QUERIES, dtype=np.int64)
    took: dict[str, list[float]] = {"photos_ms": [], "captions_ms": [], "fetch_ms": []}
    for image_id in image_ids:
        photo, caption = (vectors_of(np.array([image_id]), kind) for kind in (0, 1))
        times = [time.perf_counter()]
        found = snapshot.image_index.search(caption, 10)[1][0]
        times.append(time.perf_counter())
        snapshot.caption_index.search(photo, 10)
        times.append(time.perf_counter())
        snapshot.images(found), snapshot.captions_of(found), snapshot.tokens(found), snapshot.thumbnail(found[0])
        times.append(time.perf_counter())
        for name, seconds in zip(took, np.diff(times), strict=True):
            took[name].append(seconds)
    return {name: round(1000 * float(np.median(own)), 1) for name, own in took.items()}


def delete(home: Path, images: int) -> dict:
    """Delete every hundredth photo, and publish."""
    with _collection(home).writer(FINGERPRINT) as writer:
        for image_id in range(1, images + 1, 100):
            writer.tombstone(image_id)
        writer.publish()
    return {}


def add_few(home: Path, images: int) -> dict:
    """Add five hundred photos, as a daily addition, and publish."""
    with _collection(home).writer(FINGERPRINT) as writer:
        segment = writer.begin_segment(DIM, TOKEN_SHAPE)
        _add(writer, segment, 500)
        segment.finish()
        writer.publish()
    return _choices(home)


def compact(home: Path, images: int) -> dict:
    """Rewrite the segments that hold deleted photos, and forget old versions."""
    from storage import Home
    from storage.maintenance import compact

    compact(Home(home), NAME, keep=0)
    return {"bytes": _size(home)}


def verify(home: Path, images: int) -> dict:
    """Check every byte, every id, and every vector of the index files, as the command `verify` does."""
    from storage import Home
    from storage.verification import verify

    return {"problems": len(verify(Home(home), NAME)["problems"])}


STEPS: list[tuple[str, Callable[[Path, int], dict]]] = [
    ("write segments", write),
    ("publish", publish),
    ("open", reopen),
    ("search", search),
    ("delete 1 %", delete),
    ("search, 1 % deleted", search),
    ("add 500 and publish", add_few),
    ("compact", compact),
    ("verify", verify),
]


def _collection(home: Path) -> Collection:
    from storage import Home

    return Home(home).collection(NAME)


def _choices(home: Path) -> dict:
    """For each index, exact or the kind of approximate search, and its recall."""
    from storage.vector_index.selection import read_choices

    collection = _collection(home)
    choices = read_choices(collection.folder / "index" / collection.manifest.index)
    return {
        name: f"{one['factory']}, recall {one['recall']:.4f}" if one["kind"] == "approximate" else "exact"
        for name, one in choices.items()
    }


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _measured(step: Callable[[Path, int], dict], home: Path, images: int, answers: SimpleQueue[dict]) -> None:
    """Run a step and time it; this is the main function of the step's own process."""
    import storage  # noqa: F401  so that importing is not counted

    before = time.perf_counter()
    report = step(home, images)
    answers.put({"seconds": time.perf_counter() - before, **report})


def run(home: Path, images: int) -> Iterator[dict]:
    """Run all steps; of each, its name, seconds, peaks of memory in bytes, and the rest of its report."""
    context = multiprocessing.get_context("spawn")
    for name, step in STEPS:
        answers = context.SimpleQueue()
        process = context.Process(target=_measured, args=(step, home, images, answers))
        process.start()
        with Peak(process.pid) as peak:
            process.join()
        if process.exitcode:
            raise click.ClickException(f"the step {name!r} ended with {process.exitcode}")
        yield {"step": name, "peak": peak.resident, "anonymous": peak.anonymous, **answers.get()}


def row(measured: dict) -> str:
    """One line of the Markdown table."""
    rest = {key: value for key, value in measured.items() if key not in ("step", "seconds", "peak", "anonymous")}
    details = ", ".join(_detail(key, value) for key, value in rest.items())
    peaks = f"{measured['peak'] / 1e6:,.0f} | {measured['anonymous'] / 1e6:,.0f}"
    return f"| {measured['step']} | {measured['seconds']:.1f} | {peaks} | {details} |"


def _detail(key: str, value: str | float) -> str:
    if isinstance(value, str):
        return f"{key}: {value}"
    if key == "bytes":
        return f"{value / 1e9:.2f} GB on disk"
    return f"{key.removesuffix('_ms')} {value} ms" if key.endswith("_ms") else f"{value:,} {key}"


@click.command()
@click.option("--images", default=100_000, show_default=True, help="Photos of the collection.")
@click.option(
    "--home",
    type=click.Path(path_type=Path),
    default=Path("var/scale"),
    show_default=True,
    help="Where the collection goes; 5 KB a photo, the folder is removed afterwards.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(images: int, home: Path, as_json: bool) -> None:
    """Measure and print."""
    if home.exists():
        raise click.ClickException(f"{home} exists: name a folder that does not, for it is removed at the end")
    try:
        if not as_json:
            click.echo("| step | seconds | peak MB | anonymous MB | |\n|---|---|---|---|---|")
        for measured in run(home, images):
            click.echo(json.dumps(measured) if as_json else row(measured))
            sys.stdout.flush()
    finally:
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    main()
