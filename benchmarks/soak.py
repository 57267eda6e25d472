"""Loads the real server with many clients for a while: `python -m benchmarks.soak SOURCE --clients 200 --seconds 60`.

Indexes the first photos of SOURCE (anything that `build-index` reads) into a temporary home, starts `manage.py serve` there on
a free port of 127.0.0.1, and lets the clients send requests until the time is over. Prints the responses and the server's
memory. Only 200, and 429 or 503 for too many requests, are expected; any other status is an error.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote
from urllib.request import urlopen

import click
import numpy as np

from benchmarks.load import Client, Request
from benchmarks.memory import resident_with_children

ROOT = Path(__file__).parent.parent
EXPECTED = {200, 429, 503}
START_TIMEOUT_SECONDS = 180
COLOURS = ("red", "green", "blue", "small", "old", "wooden", "红色的", "白色的", "两个")
THINGS = ("dog", "bus", "boat", "horse", "bicycle", "man on a beach", "table with fruit", "孩子", "海滩", "街道")


@dataclass(frozen=True)
class Outcome:
    """One response: the kind of its request, its status (0: none came), and milliseconds."""

    kind: str
    status: int
    ms: float


def requests(seed: int, photo: bytes, ids: list[int]) -> Iterator[Request]:
    """The endless requests of one client: mostly sentences, of which more than half are new."""
    rng = random.Random(seed)
    for number in range(sys.maxsize):
        sentence = f"{rng.choice(COLOURS)} {rng.choice(THINGS)}"
        new = quote(f"{sentence} {seed}-{number}")
        yield rng.choices(
            [
                Request("new sentence", f"/api/v1/search?q={new}"),
                Request("sentence", f"/api/v1/search?q={quote(sentence)}"),
                Request("captions", f"/api/v1/search?q={new}&to=captions&mode=hybrid"),
                Request("photo of the collection", f"/api/v1/search?image_id={rng.choice(ids)}&rerank=0"),
                Request("photo that is sent", "/api/v1/search?rerank=0", photo),
                Request("page", f"/?q={quote(sentence)}"),
                Request("thumbnail", f"/thumbnails/{rng.choice(ids)}"),
                Request("status", "/api/v1/status"),
            ],
            weights=[6, 4, 2, 2, 1, 2, 8, 1],
        )[0]


async def run_client(end: float, address: str, seed: int, photo: bytes, ids: list[int]) -> list[Outcome]:
    """Run one client until `end`: send a request, wait for the response, and repeat; honour Retry-After."""
    outcomes = []
    async with Client(address) as client:
        for request in requests(seed, photo, ids):
            if time.monotonic() >= end:
                return outcomes
            began = time.perf_counter()
            status, headers = await client.send(request)
            outcomes.append(Outcome(request.kind, status, 1000 * (time.perf_counter() - began)))
            if status in (429, 503):
                await asyncio.sleep(min(float(headers.get("retry-after", 1)), max(end - time.monotonic(), 0)))
    return outcomes


async def soak(address: str, clients: int, seconds: float, photo: bytes, ids: list[int]) -> list[Outcome]:
    """Run all clients, and return all outcomes."""
    end = time.monotonic() + seconds
    each = await asyncio.gather(*(run_client(end, address, seed, photo, ids) for seed in range(clients)))
    return [outcome for outcomes in each for outcome in outcomes]


def table(outcomes: list[Outcome]) -> Iterator[str]:
    """A Markdown table: for each kind of request the responses by status, and the times of those with 200."""
    statuses = sorted({outcome.status for outcome in outcomes})
    yield "| asked for | " + " | ".join(str(status or "none") for status in statuses) + " | p50 | p95 |"
    yield "| --- " * (len(statuses) + 3) + "|"
    kinds = Counter(outcome.kind for outcome in outcomes)
    for kind in [*(kind for kind, _ in kinds.most_common()), "all"]:
        own = [outcome for outcome in outcomes if kind in (outcome.kind, "all")]
        counts = Counter(outcome.status for outcome in own)
        ms = [outcome.ms for outcome in own if outcome.status == 200]
        times = [f"{np.percentile(ms, part):.0f} ms" if ms else "" for part in (50, 95)]
        yield f"| {kind} | " + " | ".join(f"{counts[status]:,}" for status in statuses) + f" | {times[0]} | {times[1]} |"


@contextmanager
def served(home: Path) -> Iterator[tuple[str, int]]:
    """Run the real server of a home; yields its address and process id when it is ready."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command = [sys.executable, "manage.py", "serve", "--home", str(home), "--port", str(port)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        wait_until_ready(f"http://127.0.0.1:{port}", process)
        yield f"http://127.0.0.1:{port}", process.pid
    finally:
        process.terminate()
        process.wait(30)


def wait_until_ready(address: str, process: subprocess.Popen) -> None:
    """Wait until the server is ready.

    Raises:
        ClickException: the server ended, or is not ready after START_TIMEOUT_SECONDS.
    """
    end = time.monotonic() + START_TIMEOUT_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            with urlopen(f"{address}/readyz"):  # nosec B310 # our own server
                return
        except OSError:
            time.sleep(0.2)
    raise click.ClickException("The server did not get ready.")


@click.command()
@click.argument("source", type=click.Path(path_type=Path, exists=True))
@click.option("--clients", type=click.IntRange(1, 2000), default=200, show_default=True)
@click.option("--seconds", type=click.FloatRange(1, 3600), default=60, show_default=True)
@click.option("--photos", type=click.IntRange(1), default=200, show_default=True, help="How many photos of SOURCE to index.")
def main(source: Path, clients: int, seconds: float, photos: int) -> None:
    """Load a server of SOURCE's first photos with many clients at once, and print a table."""
    with tempfile.TemporaryDirectory() as folder:
        index = ["build-index", str(source.resolve()), "--limit", str(photos), "--home", folder]
        subprocess.run([sys.executable, "manage.py", *index], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        ids = list(range(1, photos + 1))
        with served(Path(folder)) as (address, pid):
            with urlopen(f"{address}/thumbnails/1") as answer:  # nosec B310 # our own server
                photo = answer.read()
            asyncio.run(soak(address, clients, 15, photo, ids))  # fills buffers and caches
            before = resident_with_children(pid) / 1e6
            outcomes = asyncio.run(soak(address, clients, seconds, photo, ids))
            time.sleep(2)
            after = resident_with_children(pid) / 1e6
    click.echo(
        f"{clients} clients, {seconds:g} s, {photos} photos, {os.cpu_count()} cores: {len(outcomes) / seconds:.0f} "
        f"answers a second; memory of the server {before:.0f} MB before, {after:.0f} MB after\n"
    )
    click.echo("\n".join(table(outcomes)))
    wrong = {outcome.status for outcome in outcomes} - EXPECTED
    if wrong:
        raise click.ClickException(f"Answers that must not be: {sorted(wrong)}")


if __name__ == "__main__":
    main()
