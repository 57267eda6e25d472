"""Measures the encoder on this machine: `python -m benchmarks.bounds`.

Prints medians over repeated calls of the shipped model (or PANOPTES_MODEL's), beside the bounds for opt-mini on two CPU cores:
32 candidates re-ranked in 250 ms, a sentence in 25 ms, 6 photos a second, 50 KB of tokens an image. Opening the graphs, which
the first calls do, is not counted; on CPU they were exported before, and nothing is compiled.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np

from encoder import open_encoder

SENTENCE = "a dog runs along the beach"
IMAGES = 16
LONGER = "a man in a red jacket and a woman with a blue umbrella walk past a row of parked bicycles in the rain"


def median_ms(call: Callable[[], object], times: int) -> float:
    """Median milliseconds of `call` over `times` calls, after one call that is not counted."""
    call()
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        taken.append(1000 * (time.perf_counter() - start))
    return statistics.median(taken)


def main() -> None:
    """Measure and print."""
    encoder = open_encoder()
    encoder.warm_up()
    length, width = encoder.config.token_shape
    size = encoder.config.image_size
    rng = np.random.default_rng(0)
    photos = rng.integers(0, 256, (IMAGES, size, size, 3)).astype(np.uint8)
    tokens = encoder.encode_images(photos).tokens
    candidates = np.concatenate([tokens, tokens])[:32]
    short, longer = encoder.encode_texts([SENTENCE]), encoder.encode_texts([LONGER])
    rows = {
        "sentence_ms": (median_ms(lambda: encoder.encode_texts([SENTENCE]), 50), "<= 25"),
        "longer_sentence_ms": (median_ms(lambda: encoder.encode_texts([LONGER]), 50), "<= 25"),
        "rerank_32_ms": (median_ms(lambda: encoder.match(short, candidates), 20), "<= 250"),
        "rerank_32_longer_ms": (median_ms(lambda: encoder.match(longer, candidates), 20), "<= 250"),
        "photos_per_second": (1000 * len(photos) / median_ms(lambda: encoder.encode_images(photos), 8), ">= 6"),
        "one_photo_ms": (median_ms(lambda: encoder.encode_images(photos[:1]), 10), ""),
        "image_tokens": (length, "<= 64"),
        "token_bytes_an_image": (length * width * 2, "<= 50000"),
    }
    if "--json" in sys.argv:
        print(json.dumps({name: round(value, 2) for name, (value, _) in rows.items()}))
        return
    print("| | measured | bound |\n|---|---|---|")
    for name, (value, bound) in rows.items():
        print(f"| {name} | {value:.1f} | {bound} |")


if __name__ == "__main__":
    main()
