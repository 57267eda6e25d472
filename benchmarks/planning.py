"""How much memory and time it takes to plan a run over a collection in which nothing has changed.

    python -m benchmarks.planning --images 100000

Writes that many made-up images with five captions each into a temporary folder, and removes it.
"""

from __future__ import annotations

import argparse
import gc
import tempfile
import time
from pathlib import Path

import numpy as np

from indexer.items import SourceCaption, SourceItem
from indexer.planning import Plan
from storage import CaptionRecord, Collection, Home, ImageRecord, SegmentData

CAPTIONS, DIM, FULL = 5, 16, 4096
WEIGHTS, ROOT = "0" * 16, "/photos/of/some/year"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=100_000)
    count = parser.parse_args().images
    with tempfile.TemporaryDirectory() as folder:
        collection = Home(folder).create_collection("planned")
        fill(collection, count)
        held = []  # so that what was measured stays in memory
        measured("the source's list", lambda: held.append([item(number) for number in range(count)]))
        with collection.writer(WEIGHTS) as writer:
            measured("what is known", lambda: held.append(Plan(collection, writer, rebuild=False)))
            measured("what is to be done", lambda: held.append(held[1].work(ROOT, held[0])))
        measured("rows once more, after publication", lambda: held.append(collection.open_rows()))


def measured(what: str, act) -> None:
    """Print by how much the process grew, and the time it took."""
    gc.collect()
    before, started = resident(), time.perf_counter()
    act()
    print(f"{what:36} {resident() - before:6.0f} MB {time.perf_counter() - started:6.1f} s")


def resident() -> float:
    """Memory of this process in MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


def item(number: int) -> SourceItem:
    captions = [SourceCaption("en", text(number, which), "text file") for which in range(CAPTIONS)]
    return SourceItem(Path(ROOT, f"{number:08d}.jpg"), captions)


def text(number: int, which: int) -> str:
    return f"what sentence {which} says of photo {number}"


def fill(collection: Collection, count: int) -> None:
    with collection.writer(WEIGHTS) as writer:
        for start in range(0, count, FULL):
            writer.add_segment(segment(writer, range(start, min(start + FULL, count))))
        writer.publish()


def segment(writer, numbers: range) -> SegmentData:
    ids = [writer.new_image_id() for _ in numbers]
    images = [ImageRecord(i, str(Path(ROOT, f"{n:08d}.jpg")), f"{n:064x}", 640, 480, 99_999, ROOT)
              for i, n in zip(ids, numbers, strict=True)]
    captions = [CaptionRecord(writer.new_caption_id(), i, "en", text(n, which), "text file")
                for i, n in zip(ids, numbers, strict=True) for which in range(CAPTIONS)]
    return SegmentData(images, np.ones((len(ids), DIM), np.float16), np.zeros((len(ids), 1, 1), np.float16),
                       [b"jpeg"] * len(ids), captions, np.ones((len(captions), DIM), np.float16))


if __name__ == "__main__":
    main()
