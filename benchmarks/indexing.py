"""Compares the speed of `build-index` with that of the encoder alone: `python -m benchmarks.indexing --photos 512`.

Makes JPEGs of 640 x 480 pixels with five captions each in a temporary folder (or takes photos of your own: --data FOLDER). In
turns, for a few rounds: the encoder alone on batches that are ready, captions included; and `build-index` of the JPEGs into a
home of its own, publication included. Prints the median photos a second of both, and the median of the ratio of each
`build-index` to the mean of the encoder's rates before and after it. The encoder runs once before that, uncounted, to open its
graphs.

First of all, the real command runs twice, and its peak of resident memory is printed; memory that processes share is counted
in each. On CPU both runs do the same work: ONNX Runtime runs graphs that were exported before, and nothing is compiled. Where
MindSpore runs the network (on Ascend, or with PANOPTES_RUNTIME=mindspore), the first run compiles the graphs.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import islice, product
from pathlib import Path

import click
import numpy as np
from PIL import Image

from benchmarks.memory import Peak
from encoder import open_encoder
from encoder.api import BulkEncoder
from indexer import build_index, open_source
from indexer.photo_pool import default_workers
from indexer.segment_filler import IMAGE_BATCH, TEXT_BATCH
from storage import Home

CAPTIONS, READY_BATCHES = 5, 4
ROOT = Path(__file__).parent.parent


@click.command()
@click.option("--photos", default=512, show_default=True, type=click.IntRange(1), help="How many are made, or taken of --data.")
@click.option("--data", type=click.Path(path_type=Path, exists=True), help="Photos of your own (default: made up).")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1), help="Rounds of each.")
@click.option(
    "--workers",
    type=click.IntRange(0),
    multiple=True,
    help="Processes that decode; may be given several times (default: as `build-index` takes).",
)
def main(photos: int, data: Path | None, rounds: int, workers: tuple[int, ...]) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = data or make_photos(folder / "photos", photos)
        for which in ("first", "second"):
            peak = memory_of_command(data, photos, folder)
            print(
                f"{which} build-index: {peak.resident / 2**30:.2f} GiB resident at the most in the process that encodes, "
                f"{peak.together / 2**30:.2f} GiB in all",
                flush=True,
            )
        encoder = open_encoder()
        source = open_source(data)
        items = list(islice(source, photos))
        texts = [caption.text for item in items for caption in item.captions]
        encoder_rate(encoder, IMAGE_BATCH, texts[:TEXT_BATCH])  # opens the graphs
        counts = workers or (default_workers(len(items), beside_encoder=False),)
        alone, built = [encoder_rate(encoder, len(items), texts)], {count: [] for count in counts}
        shares: dict[int, list[float]] = {count: [] for count in counts}
        print(f"alone {alone[-1]:.2f} photos/s", flush=True)
        for number, count in product(range(rounds), counts):
            home = Home(folder / f"home-{number}-{count}")
            built[count].append(build_index(home, "photos", source, encoder, limit=photos, workers=count).images_per_second)
            alone.append(encoder_rate(encoder, len(items), texts))
            shares[count].append(built[count][-1] / statistics.mean(alone[-2:]))
            print(f"build-index, {count} that decode, {built[count][-1]:.2f} photos/s; alone {alone[-1]:.2f}", flush=True)
    print(f"{len(items)} photos, {len(texts)} captions, {rounds} rounds; load {os.getloadavg()[0]:.1f} at the end")
    print(f"encoder alone                {statistics.median(alone):6.2f} photos/s   ({comma_separated(alone)})")
    for count, rates in built.items():
        print(f"build-index, {count} that decode  {statistics.median(rates):6.2f} photos/s   ({comma_separated(rates)})")
        print(
            f"  {statistics.median(shares[count]):.1%} of the encoder's before and after "
            f"({', '.join(f'{share:.1%}' for share in shares[count])})"
        )


def make_photos(folder: Path, photos: int) -> Path:
    """Make a folder of JPEGs, smooth with some grain as photos are, each with its captions in a text file."""
    folder.mkdir()
    for number in range(photos):
        rng = np.random.default_rng(number)
        smooth = Image.fromarray(rng.integers(0, 256, (24, 32, 3)).astype(np.uint8))
        grained = np.asarray(smooth.resize((640, 480), Image.Resampling.BICUBIC)) + rng.normal(0, 6, (480, 640, 1))
        Image.fromarray(grained.clip(0, 255).astype(np.uint8)).save(folder / f"{number:06}.jpg", quality=90)
        lines = [f"a man and a dog number {number} walk along the beach, seen {which} times" for which in range(CAPTIONS)]
        (folder / f"{number:06}.txt").write_text("\n".join(lines))
    return folder


def encoder_rate(encoder: BulkEncoder, photos: int, texts: list[str]) -> float:
    """Photos a second of the encoder alone, on so many photos and these texts, in the batches of `build-index`."""
    shape = encoder.config.inputs.shape
    ready = np.random.default_rng(0).integers(0, 256, (READY_BATCHES, IMAGE_BATCH, *shape)).astype(encoder.config.inputs.dtype)
    started = time.perf_counter()
    for number, start in enumerate(range(0, photos, IMAGE_BATCH)):
        encoder.encode_images(ready[number % READY_BATCHES, : photos - start])
    for start in range(0, len(texts), TEXT_BATCH):
        encoder.encode_texts(texts[start : start + TEXT_BATCH])
    return photos / (time.perf_counter() - started)


def comma_separated(rates: list[float]) -> str:
    """The rates of all rounds."""
    return ", ".join(f"{rate:.2f}" for rate in rates)


def memory_of_command(data: Path, photos: int, folder: Path) -> Peak:
    """The peak memory of `manage.py build-index` of these photos, with a new home and one cache of graphs below `folder`."""
    command = [sys.executable, ROOT / "manage.py", "build-index", str(data), "--limit", str(photos), "--json"]
    own = {"PANOPTES_HOME": tempfile.mkdtemp(dir=folder), "PANOPTES_CACHE": str(folder / "graphs")}
    process = subprocess.Popen(command, env=os.environ | own, stdout=subprocess.DEVNULL)
    with Peak(process.pid, children=True) as peak:
        if process.wait():
            raise click.ClickException(f"build-index failed ({process.returncode}).")
    return peak


if __name__ == "__main__":
    main()
