"""Does the encoder ever wait? `python -m benchmarks.indexing --photos 512` (or --data FOLDER, photos of your own).

Makes JPEGs of 640 x 480 with five captions each in a temporary folder. In turns, a few rounds of each: the encoder alone on
batches that are ready, captions included, and `build-index` of the JPEGs into a home of its own, publication included. Prints
the median of photos a second of both, their ratio, and the most memory that was resident while indexing, of this process and of
all processes together (what they share is counted in each). Compilation is excluded.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import threading
import time
from itertools import islice
from pathlib import Path

import click
import numpy as np
from PIL import Image

from encoder import open_encoder
from encoder.runtime import IMAGE_BATCHES
from indexer import build_index, open_source
from indexer.filling import IMAGE_BATCH, TEXT_BATCH
from indexer.readers import default_workers
from storage import Home

CAPTIONS, READY = 5, 4
PAGE = os.sysconf("SC_PAGE_SIZE")


@click.command()
@click.option("--photos", default=512, show_default=True, type=click.IntRange(1), help="How many are made, or taken of --data.")
@click.option("--data", type=click.Path(path_type=Path, exists=True), help="Photos of your own (default: made up).")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1), help="Rounds of each.")
@click.option("--workers", type=click.IntRange(0), multiple=True,
              help="Processes that decode; may be given several times (default: as `build-index` takes).")
def main(photos: int, data: Path | None, rounds: int, workers: tuple[int, ...]):
    """Measure and print."""
    encoder = open_encoder()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = open_source(data or made_up(folder / "photos", photos))
        items = list(islice(source, photos))
        texts = [caption.text for item in items for caption in item.captions]
        alone_on(encoder, IMAGE_BATCHES[-1], texts[:TEXT_BATCH])  # compiles
        alone, built, memory = [], {count: [] for count in workers or (default_workers(len(items), encoder.device),)}, Memory()
        for number in range(rounds):
            alone.append(alone_on(encoder, len(items), texts))
            print(f"round {number + 1}: alone {alone[-1]:.2f} photos/s", flush=True)
            for count, rates in built.items():
                home = Home(folder / f"home-{number}-{count}")
                with memory:
                    summary = build_index(home, "photos", source, encoder, limit=photos, workers=count)
                rates.append(summary.images_per_second)
                print(f"round {number + 1}: build-index, {count} that decode, {rates[-1]:.2f} photos/s", flush=True)
    best = statistics.median(alone)
    print(f"{len(items)} photos, {len(texts)} captions, {rounds} rounds; load {os.getloadavg()[0]:.1f} at the end")
    print(f"encoder alone                {best:6.2f} photos/s   ({said(alone)})")
    for count, rates in built.items():
        median = statistics.median(rates)
        print(f"build-index, {count} that decode  {median:6.2f} photos/s   ({said(rates)}) = {median / best:.1%} of it")
    print(f"peak resident while indexing {memory.own / 1e9:6.2f} GB; all processes {memory.all / 1e9:.2f} GB")


def made_up(folder: Path, photos: int) -> Path:
    """A folder of JPEGs, smooth with some grain as photos are, each with captions beside it."""
    folder.mkdir()
    for number in range(photos):
        rng = np.random.default_rng(number)
        smooth = Image.fromarray(rng.integers(0, 256, (24, 32, 3)).astype(np.uint8))
        grained = np.asarray(smooth.resize((640, 480), Image.Resampling.BICUBIC)) + rng.normal(0, 6, (480, 640, 1))
        Image.fromarray(grained.clip(0, 255).astype(np.uint8)).save(folder / f"{number:06}.jpg", quality=90)
        lines = [f"a man and a dog number {number} walk along the beach, seen {which} times" for which in range(CAPTIONS)]
        (folder / f"{number:06}.txt").write_text("\n".join(lines))
    return folder


def alone_on(encoder, photos: int, texts: list[str]) -> float:
    """Photos a second of the encoder on so many, and these texts, in batches as `build-index` gives it."""
    shape = encoder.config.inputs.shape
    ready = np.random.default_rng(0).integers(0, 256, (READY, IMAGE_BATCH, *shape)).astype(encoder.config.inputs.dtype)
    started = time.perf_counter()
    for number, start in enumerate(range(0, photos, IMAGE_BATCH)):
        encoder.encode_images(ready[number % READY, :photos - start])
    for start in range(0, len(texts), TEXT_BATCH):
        encoder.encode_texts(texts[start:start + TEXT_BATCH])
    return photos / (time.perf_counter() - started)


def said(rates: list[float]) -> str:
    """Every round's."""
    return ", ".join(f"{rate:.2f}" for rate in rates)


class Memory:
    """The most bytes that were resident while in a `with`: of this process (`own`), and of its children with it (`all`)."""

    def __init__(self):
        self.own = self.all = 0

    def __enter__(self) -> Memory:
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(0.2):
            sizes = tree(os.getpid())
            self.own, self.all = max(self.own, sizes[0]), max(self.all, sum(sizes))


def tree(process: int) -> list[int]:
    """Resident bytes of a process, and of all below it."""
    try:
        below = [int(child) for task in Path(f"/proc/{process}/task").iterdir()
                 for child in (task / "children").read_text().split()]
        size = int(Path(f"/proc/{process}/statm").read_text().split()[1]) * PAGE
    except (OSError, ValueError):  # it has just ended
        return [0]
    return [size, *(one for child in below for one in tree(child))]


if __name__ == "__main__":
    main()
