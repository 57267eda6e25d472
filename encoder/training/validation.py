"""Recall on the validation photos while training runs (every sentence's own photo among all of them)."""

from __future__ import annotations

import numpy as np
from mindspore import Tensor, nn

from encoder.network.opt import OptModel
from encoder.training.features import Frozen

CHUNK = 128


class _Adapt(nn.Cell):
    def __init__(self, model: OptModel):
        super().__init__()
        self.model = model

    def construct(self, features):
        """features [B, L, H] -> image tokens [B, L, H], image vectors [B, D]."""
        tokens = self.model.uniter.img_embeddings.adapt(features)
        return tokens, self.model.image_vectors(tokens)


class _Join(nn.Cell):
    def __init__(self, model: OptModel, frozen_layers: int):
        super().__init__()
        self.images, self.frozen_layers = model.uniter.img_embeddings, frozen_layers

    def construct(self, trunk, cells):
        """trunk [B, T, W], cells [B, L, F] -> what the adapter reads [B, L, H]."""
        return self.images.join(self.images.tail(trunk, self.frozen_layers), cells)


class _Read(nn.Cell):
    def __init__(self, model: OptModel):
        super().__init__()
        self.model = model

    def construct(self, ids):
        """ids [B, T] -> text vectors [B, D]."""
        return self.model.text_vectors(self.model.text_states(ids))


class _Match(nn.Cell):
    def __init__(self, model: OptModel):
        super().__init__()
        self.model = model

    def construct(self, ids, tokens):
        """One caption, ids [1, T], with tokens [K, L, H] -> match logits [K]."""
        count = tokens.shape[0]
        states = self.model.text_states(ids).repeat_interleave(count, 0)
        return self.model.match_logits(states, ids.repeat_interleave(count, 0), tokens)[:, 1]


def in_chunks(cell: nn.Cell, *columns: np.ndarray):
    """Run a cell over columns of n rows in chunks of one fixed shape; gives its outputs as arrays of n. Floats go in as
    float32."""
    outputs = []
    for start in range(0, len(columns[0]), CHUNK):
        chunks = [_filled(np.asarray(column[start : start + CHUNK])) for column in columns]
        result = cell(*(Tensor(chunk) for chunk in chunks))
        result = result if isinstance(result, tuple) else (result,)
        outputs.append([value.asnumpy()[: len(columns[0]) - start] for value in result])
    joined = [np.concatenate(parts) for parts in zip(*outputs, strict=True)]
    return joined[0] if len(joined) == 1 else tuple(joined)


def _filled(chunk: np.ndarray) -> np.ndarray:
    chunk = chunk.astype(np.float32) if chunk.dtype.kind == "f" else chunk
    return np.concatenate([chunk, np.repeat(chunk[-1:], CHUNK - len(chunk), 0)]) if len(chunk) < CHUNK else chunk


class Views:
    """The network's pieces as training looks at them; each is compiled once, whatever the weights become."""

    def __init__(self, model: OptModel, frozen_layers: int):
        self._side = model.config.grid // model.config.merge
        self._join, self._adapt, self._read, self._match = (
            cell.set_train(False) for cell in (_Join(model, frozen_layers), _Adapt(model), _Read(model), _Match(model))
        )

    def joined(self, frozen: Frozen, view: int = 0) -> np.ndarray:
        """What the adapter reads [n, L, H] float16 of photos' frozen features; `view` 1 is the mirrored one."""
        order = mirrored_cells(self._side) if view else slice(None)
        parts = []
        for start in range(0, len(frozen), 8 * CHUNK):
            rows = slice(start, start + 8 * CHUNK)
            parts.append(in_chunks(self._join, frozen.trunks[view][rows], frozen.cells[rows][:, order]).astype(np.float16))
        return np.concatenate(parts)

    def images(self, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Stored tokens [n, L, H] and vectors [n, D] of what the adapter reads [n, L, H]."""
        return in_chunks(self._adapt, tokens)

    def texts(self, ids: np.ndarray) -> np.ndarray:
        """Vectors [n, D] of captions' ids [n, T]."""
        return in_chunks(self._read, ids)

    def match(self, ids: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """Match logits [K] of one caption, ids [1, T], with tokens [K, L, H]."""
        return self._match(Tensor(ids), Tensor(np.ascontiguousarray(tokens, np.float32))).asnumpy()


def mirrored_cells(side: int) -> np.ndarray:
    """Where each place of a mirrored photo (the mean first, then side x side cells) lies in the photo as it is."""
    cells = 1 + np.arange(side * side).reshape(side, side)[:, ::-1]
    return np.concatenate([[0], cells.ravel()])


def recall(similarities: np.ndarray, right: np.ndarray, k: int) -> float:
    """Percentage of rows [q, n] whose right column is among the k best; ties count against it."""
    own = similarities[np.arange(len(right)), right]
    return 100.0 * float(((similarities >= own[:, None]).sum(1) <= k).mean())


class Reranking:
    """Match logits of the first stage's K best photos for each caption; weights of the two scores are chosen on it."""

    def __init__(self, views: Views, tokens: np.ndarray, images: np.ndarray, ids: np.ndarray, right: np.ndarray, k: int = 32):
        self.similarities = views.texts(ids) @ images.T
        self.right = right
        self.best = np.argsort(-self.similarities, axis=1, kind="stable")[:, :k]
        self.logits = np.stack([views.match(ids[i : i + 1], tokens[self.best[i]]) for i in range(len(ids))])

    def scores(self, weight: float) -> np.ndarray:
        """match logit + weight * similarity [q, K] of the first stage's best."""
        return self.logits + weight * np.take_along_axis(self.similarities, self.best, 1)

    def recall(self, weight: float, k: int) -> float:
        """R@k of match logit + weight * similarity among the first stage's best."""
        score = self.scores(weight)
        own = np.where(self.best == self.right[:, None], score, -np.inf).max(1)
        beaten = (score >= own[:, None]).sum(1)
        return 100.0 * float(((beaten <= k) & np.isfinite(own)).mean())
