"""Times a published single-stream OPT as a re-ranker, at its real size: python -m benchmarks.reranker opt-v1|opt-zoo-trunk

MindSpore runs it, with random weights, which take the same time. Prints seconds for one image at index time and for a batch of
pairs at query time.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np
from mindspore import Tensor

from encoder.network.entries import SingleStreamMatch, TokensOfImages
from encoder.network.single_stream import SingleStreamModel
from encoder.runtime.device import use_device
from encoder.runtime.reranker import Reranker
from encoder.single_stream_config import SINGLE_STREAM_PRESETS

PAIRS, RUNS, TEXT = Reranker.match_batches[-1], 3, Reranker.text_lengths[0]


def seconds(cell: Callable[..., Tensor], *arrays: np.ndarray) -> float:
    """The median seconds of some runs, after one run that compiles the graph."""
    tensors = [Tensor(array) for array in arrays]
    cell(*tensors).asnumpy()
    took = []
    for _ in range(RUNS):
        start = time.perf_counter()
        cell(*tensors).asnumpy()
        took.append(time.perf_counter() - start)
    return float(np.median(took))


def main(name: str) -> None:
    """Measure one preset."""
    config = SINGLE_STREAM_PRESETS[name]
    use_device()
    model = SingleStreamModel(config).set_train(False)
    parameters = sum(int(np.prod(p.shape)) for p in model.get_parameters())
    shape = (1, *config.inputs.shape) if config.regions else (1, 3, config.image_size, config.image_size)
    image = seconds(TokensOfImages(model), np.ones(shape, np.float32))
    ids = np.ones((PAIRS, TEXT), np.int32)
    match = seconds(SingleStreamMatch(model), ids, ids, np.ones((PAIRS, *config.token_shape), np.float32))
    length, width = config.token_shape
    kept = f"{length} x {width} numbers, {2 * length * width:,} bytes"
    print(f"{name}: {parameters / 1e6:.0f} million parameters; kept of an image: {kept}")
    print(f"one image {image:.2f} s; {PAIRS} pairs with {TEXT} tokens of text {match:.2f} s, {match / PAIRS:.2f} s a pair")


if __name__ == "__main__":
    main(sys.argv[1])
