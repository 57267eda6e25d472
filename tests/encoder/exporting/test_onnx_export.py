"""The exported graphs of every form of model give MindSpore's numbers, at every batch and every padded length."""

from __future__ import annotations

from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from encoder.config import OptConfig
from encoder.model_folder import read_weights, write_model
from encoder.network.entries import entries_of, network_of
from encoder.runtime.encoder import OptEncoder, _buckets
from encoder.runtime.reranker import Reranker
from encoder.single_stream_config import SingleStreamConfig
from tests.encoder.network.test_region_stream import SMALL_REGIONS
from tests.support.published_models import SMALL_IMPORTED
from tests.support.published_single_stream import SMALL_V1, SMALL_ZOO
from tests.support.runtimes import open_with
from tests.support.small_models import SMALL_MINI, add_graphs, random_weights, vocabulary

VECTORS, LOGITS = 1e-5, 1e-3
FORMS = {"V2": SMALL_IMPORTED, "mini": SMALL_MINI, "regions": SMALL_REGIONS, "V1": SMALL_V1, "zoo": SMALL_ZOO}
BATCHES = (1, 3, 7)


class Form:
    """A small network in both runtimes.

    MindSpore runs it operator by operator, because compiling takes seconds. An entry that masks tokens is compiled:
    `padding_bias` gives other numbers operator by operator.
    """

    def __init__(self, folder: Path, config: OptConfig | SingleStreamConfig):
        write_model(folder, config, random_weights(config), vocabulary())
        self.config, self.onnx = config, open_with("onnxruntime", add_graphs(folder)).graphs
        model, weights = network_of(config).set_train(False), read_weights(folder)
        for name, parameter in model.parameters_and_names():
            parameter.set_data(Tensor(weights[name].astype(np.float32)))
        self.compiles = "match" if isinstance(config, SingleStreamConfig) or config.regions else None
        self._cells = {name: entry(model).set_train(False) for name, entry in entries_of(config).items()}

    def mindspore(self, entry: str, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        mode = ms.get_context("mode")
        ms.set_context(mode=ms.GRAPH_MODE if entry == self.compiles else ms.PYNATIVE_MODE)
        try:
            found = self._cells[entry](*map(Tensor, arrays))
        finally:
            ms.set_context(mode=mode)
        return tuple(one.asnumpy() for one in (found if isinstance(found, tuple) else (found,)))

    def both(self, entry: str, *arrays: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Run an entry in both runtimes; gives pairs of outputs."""
        return list(zip(self.onnx.run(entry, *arrays), self.mindspore(entry, *arrays), strict=True))

    def images(self, count: int, regions: int | None = None) -> np.ndarray:
        """Make inputs: pixels, or rows of regions of which each photo has one less than the one before."""
        config, rng = self.config, np.random.default_rng(count)
        if not config.regions:
            return rng.uniform(0, 255, (count, 3, config.image_size, config.image_size)).astype(np.float32)
        rows = rng.normal(0, 1, (count, regions or config.regions, config.inputs.shape[1])).astype(np.float32)
        rows[:, :, -1] = 1
        for i in range(count):
            rows[i, max(1, rows.shape[1] - i) :] = 0
        return rows

    def texts(self, count: int, length: int) -> np.ndarray:
        """Make token ids of texts, each a token shorter than the one before."""
        ids = np.random.default_rng(length).integers(4, self.config.vocab_size, (count, length)).astype(np.int32)
        for i in range(count):
            ids[i, max(2, length - i) :] = 0
        return ids

    def lengths(self, count: int) -> list[int]:
        """List the lengths that texts are padded to, a part of them for each batch."""
        kind = OptEncoder if self.config.dim else Reranker
        return _buckets(kind.text_lengths, self.config.text_length)[BATCHES.index(count) :: len(BATCHES)]


@pytest.fixture(scope="module", params=FORMS)
def form(request, tmp_path_factory):
    return Form(tmp_path_factory.mktemp("model"), FORMS[request.param])


def agree(pairs: list[tuple[np.ndarray, np.ndarray]], *tolerances: float) -> None:
    for (found, expected), tolerance in zip(pairs, tolerances, strict=True):
        assert found.shape == expected.shape and found.dtype == expected.dtype
        np.testing.assert_allclose(found, expected, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("count", BATCHES)
def test_images(form, count):
    for regions in {form.config.regions, min(12, form.config.regions)}:
        pairs = form.both("images", form.images(count, regions))
        agree(pairs, *([VECTORS, LOGITS] if form.config.dim else [LOGITS]))


@pytest.mark.parametrize("count", BATCHES)
def test_texts_and_pairs_of_every_length(form, count):
    tokens = form.onnx.run("images", form.images(count))[-1]
    for length in form.lengths(count):
        ids = form.texts(count, length)
        if isinstance(form.config, OptConfig):
            texts = form.both("texts", ids)
            agree(texts, VECTORS, LOGITS)
            sides = texts[1][0], ids, tokens
        else:
            sides = ids, (ids != 0).astype(np.int32), tokens
        agree(form.both("match", *sides), LOGITS)
        if form.config.token_grid is not None:
            agree(form.both("attention", *sides), VECTORS)
