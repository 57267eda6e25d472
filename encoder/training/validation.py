"""Recall on the validation photos while training runs: the rank of each sentence's own photo among all of them."""

from __future__ import annotations

import numpy as np
from mindspore import Tensor, nn

from encoder.network.opt import OptModel
from encoder.training.features import FrozenFeatures

CHUNK = 128


class _Images(nn.Cell):
    def __init__(self, model: OptModel):
        super().__init__()
        self.model = model

    def construct(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Run the adapter: features [B, L, H] -> image tokens [B, L, H], image vectors [B, D]."""
        tokens = self.model.uniter.img_embeddings.adapt(features)
        return tokens, self.model.image_vectors(tokens)


class _AdapterInputs(nn.Cell):
    def __init__(self, model: OptModel, frozen_layers: int):
        super().__init__()
        self.images, self.frozen_layers = model.uniter.img_embeddings, frozen_layers

    def construct(self, trunk: Tensor, cells: Tensor) -> Tensor:
        """Compute the adapter's inputs: trunk [B, T, W], cells [B, L, F] -> [B, L, H]."""
        return self.images.add_grid_features(self.images.tail(trunk, self.frozen_layers), cells)


class _Texts(nn.Cell):
    def __init__(self, model: OptModel):
        super().__init__()
        self.model = model

    def construct(self, ids: Tensor) -> Tensor:
        """Encode texts: ids [B, T] -> text vectors [B, D]."""
        return self.model.text_vectors(self.model.text_states(ids))


class _Match(nn.Cell):
    def __init__(self, model: OptModel):
        super().__init__()
        self.model = model

    def construct(self, ids: Tensor, tokens: Tensor) -> Tensor:
        """Score one caption, ids [1, T], with K photos, tokens [K, L, H] -> match logits [K]."""
        count = tokens.shape[0]
        states = self.model.text_states(ids).repeat_interleave(count, 0)
        return self.model.match_logits(states, ids.repeat_interleave(count, 0), tokens)[:, 1]


def in_chunks(cell: nn.Cell, *columns: np.ndarray) -> tuple[np.ndarray, ...]:
    """Run a cell over arrays of n rows in chunks of CHUNK rows, floats as float32. Gives its outputs as arrays of n rows."""
    outputs = []
    for start in range(0, len(columns[0]), CHUNK):
        chunks = [_padded(np.asarray(column[start : start + CHUNK])) for column in columns]
        result = cell(*(Tensor(chunk) for chunk in chunks))
        result = result if isinstance(result, tuple) else (result,)
        outputs.append([value.asnumpy()[: len(columns[0]) - start] for value in result])
    return tuple(np.concatenate(parts) for parts in zip(*outputs, strict=True))


def _padded(chunk: np.ndarray) -> np.ndarray:
    chunk = chunk.astype(np.float32) if chunk.dtype.kind == "f" else chunk
    return np.concatenate([chunk, np.repeat(chunk[-1:], CHUNK - len(chunk), 0)]) if len(chunk) < CHUNK else chunk


class ForwardPasses:
    """Forward passes of a model that is being trained. Each is compiled once, and always uses the current weights."""

    def __init__(self, model: OptModel, frozen_layers: int):
        self._side = model.config.grid // model.config.merge
        cells = (_AdapterInputs(model, frozen_layers), _Images(model), _Texts(model), _Match(model))
        self._adapter_inputs, self._images, self._texts, self._match = (cell.set_train(False) for cell in cells)

    def adapter_inputs(self, frozen: FrozenFeatures, view: int = 0) -> np.ndarray:
        """Compute the adapter's inputs float16 [n, L, H] of photos, as they are (`view` 0) or mirrored (`view` 1)."""
        order = mirrored_order(self._side) if view else slice(None)
        parts = []
        for start in range(0, len(frozen), 8 * CHUNK):
            rows = slice(start, start + 8 * CHUNK)
            (part,) = in_chunks(self._adapter_inputs, frozen.trunks[view][rows], frozen.cells[rows][:, order])
            parts.append(part.astype(np.float16))
        return np.concatenate(parts)

    def images(self, adapter_inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Compute tokens [n, L, H] and vectors [n, D] of photos from the adapter's inputs [n, L, H]."""
        tokens, vectors = in_chunks(self._images, adapter_inputs)
        return tokens, vectors

    def texts(self, ids: np.ndarray) -> np.ndarray:
        """Compute vectors [n, D] of captions from their ids [n, T]."""
        (vectors,) = in_chunks(self._texts, ids)
        return vectors

    def match(self, ids: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """Compute match logits [K] of one caption, ids [1, T], with K photos, tokens [K, L, H]."""
        return self._match(Tensor(ids), Tensor(np.ascontiguousarray(tokens, np.float32))).asnumpy()


def mirrored_order(side: int) -> np.ndarray:
    """Give the order that turns a photo's features (the mean first, then side x side cells) into those of its mirror image."""
    cells = 1 + np.arange(side * side).reshape(side, side)[:, ::-1]
    return np.concatenate([[0], cells.ravel()])


def recall(similarities: np.ndarray, right: np.ndarray, k: int) -> float:
    """Compute the percentage of rows [q, n] whose right column [q] is among the k best. Ties count as misses."""
    own = similarities[np.arange(len(right)), right]
    return 100.0 * float(((similarities >= own[:, None]).sum(1) <= k).mean())


class Reranking:
    """Match logits of the first stage's k best photos for each caption.

    Attributes:
        similarities: first-stage scores of captions with all photos [q, n].
        right: the row of each caption's own photo [q].
        best: the rows of the first stage's best photos [q, k].
        logits: their match logits [q, k].
    """

    def __init__(
        self, forward: ForwardPasses, tokens: np.ndarray, images: np.ndarray, ids: np.ndarray, right: np.ndarray, k: int = 32
    ):
        self.similarities = forward.texts(ids) @ images.T
        self.right = right
        self.best = np.argsort(-self.similarities, axis=1, kind="stable")[:, :k]
        self.logits = np.stack([forward.match(ids[i : i + 1], tokens[self.best[i]]) for i in range(len(ids))])

    def scores(self, weight: float) -> np.ndarray:
        """Compute match logit + weight * similarity [q, k] of the first stage's best."""
        return self.logits + weight * np.take_along_axis(self.similarities, self.best, 1)

    def recall(self, weight: float, k: int) -> float:
        """Compute R@k of the ranking by match logit + weight * similarity."""
        score = self.scores(weight)
        own = np.where(self.best == self.right[:, None], score, -np.inf).max(1)
        beaten = (score >= own[:, None]).sum(1)
        return 100.0 * float(((beaten <= k) & np.isfinite(own)).mean())
