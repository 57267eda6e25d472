"""Measures the memory and time of planning a run over a collection in which nothing has changed.

    python -m benchmarks.planning --images 100000

Writes that many synthetic images with five captions each into a temporary folder, which is removed. Memory is anonymous memory:
what each step keeps, and its peak.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.memory import Peak, memory_of
from indexer.items import SourceCaption, SourceItem
from indexer.plan import Plan
from indexer.sources.base import Source
from storage import CaptionRecord, FileRecord, Home, ImageRecord, SegmentData
from storage.catalog.catalog import INDEXED
from storage.writer import Writer

CAPTIONS, DIM, FULL = 5, 16, 4096
WEIGHTS, ROOT = "0" * 16, "/photos/of/some/year"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=100_000)
    count = parser.parse_args().images
    with tempfile.TemporaryDirectory() as folder:
        filler = multiprocessing.get_context("spawn").Process(target=fill, args=(folder, count))
        filler.start()  # in a process of its own, or the memory that it frees would be used again below
        filler.join()
        home = Home(folder)
        collection = home.collection("planned")
        held: list[Any] = []  # keeps what was measured in memory
        measure("the source's list", lambda: held.append(Source(Path(ROOT), (item(number) for number in range(count)))))
        with collection.writer(WEIGHTS) as writer:
            measure("what is known", lambda: held.append(Plan(collection, writer, rebuild=False)))
            measure("what is to be done", lambda: settle(held[1], held[0]))
        measure("rows once more, after publication", lambda: held.append(collection.open_rows()))
        measure("files of the catalog that aren't there", lambda: home.catalog.orphaned_files("planned", held[2].image_ids()))


def measure(what: str, act: Callable[[], object]) -> None:
    """Run a step, and print by how much the process grew and how long it took."""
    gc.collect()
    before, started = memory_of(os.getpid())[1], time.perf_counter()
    with Peak() as peak:
        act()
    seconds = time.perf_counter() - started
    left, most = ((size - before) / 1e6 for size in (memory_of(os.getpid())[1], peak.anonymous))
    print(f"{what:40} {left:6.0f} MB {most:6.0f} MB at most {seconds:6.1f} s")


def settle(plan: Plan, source: Source) -> None:
    """Do what a run does with unchanged photos, without asking catalog and disk about their files."""
    for work in plan.work_list(source, None):
        plan.known.mark_named(work.uri)
        assert plan.content_to_skip(work) and plan.is_published(work)
    assert not plan.vanished(ROOT, [])


def item(number: int) -> SourceItem:
    captions = [SourceCaption("en", text(number, which), "text file") for which in range(CAPTIONS)]
    return SourceItem(Path(ROOT, f"{number:08d}.jpg"), captions)


def text(number: int, which: int) -> str:
    return f"what sentence {which} says of photo {number}"


def fill(folder: str, count: int) -> None:
    home = Home(folder)
    collection = home.create_collection("planned")
    for start in range(0, count, FULL):
        home.catalog.record_files(
            collection.name,
            [
                FileRecord(str(Path(ROOT, f"{n:08d}.jpg")), ROOT, INDEXED, 99_999, 0, f"{n:064x}", image_id=n + 1)
                for n in range(start, min(start + FULL, count))
            ],
        )
    with collection.writer(WEIGHTS) as writer:
        for start in range(0, count, FULL):
            writer.add_segment(segment(writer, range(start, min(start + FULL, count))))
        writer.publish()


def segment(writer: Writer, numbers: range) -> SegmentData:
    ids = [writer.new_image_id() for _ in numbers]
    images = [
        ImageRecord(i, str(Path(ROOT, f"{n:08d}.jpg")), f"{n:064x}", 640, 480, 99_999, ROOT)
        for i, n in zip(ids, numbers, strict=True)
    ]
    captions = [
        CaptionRecord(writer.new_caption_id(), i, "en", text(n, which), "text file")
        for i, n in zip(ids, numbers, strict=True)
        for which in range(CAPTIONS)
    ]
    return SegmentData(
        images,
        np.ones((len(ids), DIM), np.float16),
        np.zeros((len(ids), 1, 1), np.float16),
        [b"jpeg"] * len(ids),
        captions,
        np.ones((len(captions), DIM), np.float16),
    )


if __name__ == "__main__":
    main()
