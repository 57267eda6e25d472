"""Times queries end to end, in process, on a synthetic collection of COCO's size: `python -m benchmarks.query`.

A query takes the same path as in the server: storage, encoder, engine and service. For comparison, the same run times a simple
program with FAISS alone, and with PyTorch as the text encoder if it is installed. The collection (5.5 GB at full size) is
written to a temporary folder and removed.
"""

from __future__ import annotations

import itertools
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.synthetic import bytes_needed, free_bytes, unit_vectors, write_collection
from encoder import model_folder, open_encoder
from encoder.api import Encoder
from encoder.inputs.tokenizer import Tokenizer
from encoder.registry import ModelRegistry
from search import Query
from storage import Home
from web.service import SearchService

COCO = 123_287
CLIENTS = 8
ROUNDS = 3
SUBJECTS = ["a man", "two women", "a small dog", "some children", "an old horse", "three people", "a cat", "a cyclist"]
VERBS = ["runs along", "sits near", "looks at", "stands behind", "jumps over", "walks past", "plays beside", "waits at"]
PLACES = [
    "the beach",
    "a red bus",
    "a wooden fence",
    "the river",
    "a market stall",
    "a parked car in the rain",
    "the station",
    "a table with fruit and flowers",
]


class Sentences:
    """Sentences of 5 to 14 words that never repeat, so that no cache knows them."""

    def __init__(self) -> None:
        combinations = [" ".join(parts) for parts in itertools.product(SUBJECTS, VERBS, PLACES)]
        order = np.random.default_rng(0).permutation(len(combinations))
        self._left = (f"{combinations[i]}{end}" for end in ("", " at night", " in winter", " in the sun") for i in order)

    def take(self, count: int) -> list[str]:
        """The next `count` sentences."""
        return list(itertools.islice(self._left, count))


def ms_of(call: Callable[[], object]) -> float:
    """The milliseconds that a call takes."""
    start = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - start)


def print_row(name: str, ms: Sequence[float], target: str = "") -> None:
    """Print one row: median and 95th percentile."""
    print(f"{name:48} p50 {np.percentile(ms, 50):8.2f} ms   p95 {np.percentile(ms, 95):8.2f} ms   {target}", flush=True)


def ready_service(folder: Path, encoder: Encoder) -> SearchService:
    """The service that `serve` uses, when it is ready."""
    service = SearchService(Home(folder), lambda: encoder, "synthetic")
    while service.state == "loading":
        time.sleep(0.01)
    return service


def one_client(service: SearchService, sentences: list[str], **options: Any) -> list[float]:
    """Milliseconds of each query, one query after the other."""
    return [ms_of(lambda: service.search(Query(text=text, **options))) for text in sentences]  # noqa: B023


def many_clients(service: SearchService, sentences: list[str], **options: Any) -> tuple[list[float], float]:
    """Milliseconds of each query with CLIENTS at the same time, and queries a second."""
    start = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        took = list(pool.map(lambda text: ms_of(lambda: service.search(Query(text=text, **options))), sentences))
    return took, len(sentences) / (time.perf_counter() - start)


def measure_service(service: SearchService, sentences: Sentences, queries: int) -> None:
    """Time everything that a server does for a query."""
    first = one_client(service, sentences.take(10), rerank=32)
    print(f"first query once it is ready {first[0]:.1f} ms, the tenth {first[9]:.1f} ms", flush=True)
    for k, targets in ((0, "target p50 30, p95 60"), (32, "target p50 300")):
        alone, together, ratios = [], [], []
        for _ in range(ROUNDS):
            took = one_client(service, sentences.take(queries), rerank=k)
            concurrent, rate = many_clients(service, sentences.take(queries), rerank=k)
            ratios.append(rate * sum(took) / 1000 / len(took))
            alone, together = alone + took, together + concurrent
        print_row(f"re-ranked {k}, one client", alone, targets)
        print_row(f"re-ranked {k}, {CLIENTS} clients", together, "target 2000 for the slowest")
        print(
            f"  {np.median(ratios):.2f} times one client's rate ({min(ratios):.2f} to {max(ratios):.2f}; target 1.5); "
            f"slowest {max(together):.0f} ms",
            flush=True,
        )
    results = [service.search(Query(text=text, rerank=64, budget_ms=50)) for text in sentences.take(queries)]
    print_row("re-ranked up to 64 within 50 ms", [result.took_ms["total"] for result in results])
    print(f"  {np.mean([result.reranked for result in results]):.0f} of 64 were read on average")
    known = sentences.take(1) * (queries + 1)
    print_row("asked again", one_client(service, known)[1:])


def measure_by_hand(folder: Path, encoder: Encoder, sentences: Sentences, queries: int, count: int) -> None:
    """Time a simple program: FAISS with the encoder's own vectors, then with PyTorch's."""
    import faiss

    index = faiss.IndexFlatIP(encoder.config.dim)
    rng = np.random.default_rng(0)
    for start in range(0, count, 2**14):
        index.add(unit_vectors(rng, min(2**14, count - start), encoder.config.dim))
    texts = sentences.take(queries)
    vectors = encoder.encode_texts(texts).vectors
    print_row("by hand: FAISS alone, float32, all threads", [ms_of(lambda: index.search(row[None], 33)) for row in vectors])  # noqa: B023
    try:
        import torch

        from benchmarks.torch_opt import TorchOpt
    except ImportError as error:
        print(f"by hand: PyTorch is left out ({error})")
        return
    model = ModelRegistry.of_home().chosen(None)
    opt = TorchOpt.from_folder(model)
    tokenizer = Tokenizer(model_folder.vocabulary_path(model), encoder.config.text_length)
    tokens = [np.load(path, mmap_mode="r") for path in sorted(folder.glob("collections/*/segments/*/image_tokens.npy"))]

    def search(text: str, k: int) -> None:
        ids = torch.tensor(tokenizer.ids([text]), dtype=torch.int32)
        vector, states = opt.texts(ids)
        found = index.search(vector.numpy(), max(k, 10))[1][0]
        if k:
            read = np.stack([tokens[own // 4096][own % 4096] for own in found]).astype(np.float32)
            opt.match(states.expand(k, -1, -1), ids.expand(k, -1), torch.from_numpy(read))

    with torch.inference_mode():
        for k in (0, 32):
            search("warm up", k)
            took = [ms_of(lambda: search(text, k)) for text in texts]  # noqa: B023
            print_row(f"by hand: PyTorch and FAISS, re-ranked {k}, no records", took)


@click.command()
@click.option("--images", type=click.IntRange(100), default=COCO, show_default=True, help="How many images to make.")
@click.option("--queries", type=click.IntRange(10, 200), default=100, show_default=True, help="How many to ask for each row.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path, exists=True),
    default=Path(tempfile.gettempdir()),
    show_default=True,
    help="Where the temporary folder is made.",
)
def main(images: int, queries: int, folder: Path) -> None:
    """Measure and print."""
    config = model_folder.read_config(ModelRegistry.of_home().chosen(None))
    needed, free = bytes_needed(images, config), free_bytes(folder)
    if needed > free:
        raise click.ClickException(
            f"{images} images take {needed / 1e9:.1f} GB, and {folder} has {free / 1e9:.1f} GB free: "
            "make fewer with --images, or name another place with --folder."
        )
    encoder = open_encoder()
    with tempfile.TemporaryDirectory(prefix="query-", dir=folder) as name:
        home, sentences = Path(name), Sentences()
        print(f"{images} images, {config.name}, {images * 2 * np.prod(config.token_shape) / 1e9:.1f} GB of tokens", flush=True)
        print(f"written in {ms_of(lambda: write_collection(home, encoder, images)) / 1000:.0f} s", flush=True)
        start = time.perf_counter()
        service = ready_service(home, encoder)
        print(f"ready after {time.perf_counter() - start:.0f} s", flush=True)
        measure_service(service, sentences, queries)
        measure_by_hand(home, encoder, sentences, queries, images)
    print(f"most memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GB")


if __name__ == "__main__":
    main()
