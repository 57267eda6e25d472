"""The encoder as the rest of Panoptes sees it: three calls, fixed shapes underneath, one worker thread."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mindspore import Tensor, nn

from encoder import checkpoint
from encoder.device import CompiledCell, process_cache, use_device
from encoder.network import OptModel
from encoder.query_bank import read_query_bank
from encoder.tokenizer import Tokenizer, pad

IMAGE_BATCHES = (1, 8)
TEXT_BATCHES = (1, 32)
MATCH_BATCH = 32
LENGTHS = (8, 16, 24, 32, 50)


@dataclass(frozen=True)
class ImageEncodings:
    """vectors float32 [n, D] of unit length; tokens float16 [n, L, H]."""

    vectors: np.ndarray
    tokens: np.ndarray


@dataclass(frozen=True)
class TextEncodings:
    """vectors float32 [n, D] of unit length; states float32 [n, T, H]; lengths int32 [n], tokens that are not padding."""

    vectors: np.ndarray
    states: np.ndarray
    lengths: np.ndarray

    def __len__(self) -> int:
        return len(self.lengths)


class _Images(nn.Cell):
    def __init__(self, model: OptModel):
        super().__init__()
        self.model = model

    def construct(self, pixels):
        """float32 0..255 [B, 3, S, S] -> vectors [B, D], tokens [B, L, H]."""
        tokens = self.model.image_tokens(pixels)
        return self.model.image_vectors(tokens), tokens


class _Texts(nn.Cell):
    def __init__(self, model: OptModel):
        super().__init__()
        self.model = model

    def construct(self, ids):
        """int32 [B, T] -> vectors [B, D], states [B, T, H]."""
        states = self.model.text_states(ids)
        return self.model.text_vectors(states), states


class _Match(nn.Cell):
    def __init__(self, model: OptModel):
        super().__init__()
        self.model = model

    def construct(self, states, ids, tokens):
        """states [B, T, H], ids int32 [B, T], tokens [B, L, H] -> match logits [B]."""
        return self.model.match_logits(states, ids, tokens)[:, 1]


class Encoder:
    """A model folder, loaded: `encode_images`, `encode_texts`, `match`. All of it may be called from any thread.

    One worker thread runs every graph, so that MindSpore sees one caller; a batch is padded to one of a few fixed
    shapes, each compiled once and kept in the compile cache (PANOPTES_CACHE, by default ~/.cache/panoptes).
    """

    def __init__(self, folder: Path, device: str | None = None):
        self.config = checkpoint.read_config(folder)
        self.fingerprint = checkpoint.fingerprint(folder)
        self.query_bank = read_query_bank(folder, self.config.dim)
        self.device = use_device(device)
        self._lengths = [n for n in LENGTHS if n <= self.config.text_length] or [self.config.text_length]
        if self._lengths[-1] < self.config.text_length:
            self._lengths.append(self.config.text_length)
        self._tokenizer = Tokenizer(checkpoint.vocabulary_path(folder), self.config.text_length)
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="encoder")
        self._worker.submit(self._load, folder).result()

    def _load(self, folder: Path) -> None:
        model = OptModel(self.config)
        parameters = dict(model.parameters_and_names())
        weights = checkpoint.read_weights(folder)
        checkpoint.check({name: p.shape for name, p in parameters.items()}, weights, folder)
        for name, parameter in parameters.items():
            parameter.set_data(Tensor(weights[name].astype(np.float32)))
        model.set_train(False)
        cache = process_cache(self.fingerprint, self.device)
        self._images, self._texts, self._match = (
            CompiledCell(cell(model).set_train(False), cache) for cell in (_Images, _Texts, _Match))

    def encode_images(self, pixels: np.ndarray) -> ImageEncodings:
        """uint8 [n, S, S, 3], as `pixels.prepare` makes them, to unit vectors and tokens."""
        return self._worker.submit(self._encode_images, np.asarray(pixels, np.uint8)).result()

    def encode_texts(self, texts: list[str]) -> TextEncodings:
        """Sentences in English, Chinese or both to unit vectors and token states.

        T is the longest one's bucket; states beyond a sentence's own length mean nothing.
        """
        return self._worker.submit(self._encode_texts, list(texts)).result()

    def match(self, texts: TextEncodings, tokens: np.ndarray) -> np.ndarray:
        """Match logits float32 [max(n, m)] of n texts with m images' tokens [m, L, H]; n or m is 1, or they are equal."""
        if len(texts) != len(tokens) and 1 not in (len(texts), len(tokens)):
            raise ValueError(f"{len(texts)} texts cannot be paired with {len(tokens)} images")
        return self._worker.submit(self._match_pairs, texts, tokens).result()

    def warm_up(self) -> None:
        """Compile every shape that a query or an index build uses."""
        length, width = self.config.token_shape
        size = self.config.image_size
        for count in IMAGE_BATCHES:
            self.encode_images(np.zeros((count, size, size, 3), np.uint8))
        for bucket in self._lengths:
            for count in TEXT_BATCHES:
                texts = self.encode_texts(["a " * (bucket - 4)] * count)
            self.match(texts, np.zeros((1, length, width), np.float16))

    def _encode_images(self, pixels: np.ndarray) -> ImageEncodings:
        vectors = np.empty((len(pixels), self.config.dim), np.float32)
        tokens = np.empty((len(pixels), *self.config.token_shape), np.float16)
        for rows, batch in _batches(pixels, IMAGE_BATCHES):
            planes = batch.transpose(0, 3, 1, 2).astype(np.float32)
            for out, value in zip((vectors, tokens), self._images(planes), strict=True):
                out[rows] = value[:rows.stop - rows.start]
        return ImageEncodings(vectors, tokens)

    def _encode_texts(self, texts: list[str]) -> TextEncodings:
        ids = self._tokenizer.ids(texts)
        lengths = np.array([len(row) for row in ids], np.int32)
        buckets = np.array([self._bucket(length) for length in lengths], np.int32)
        longest = int(buckets.max(initial=self._lengths[0]))
        if len(texts) <= TEXT_BATCHES[-1]:
            buckets[:] = longest  # one batch, however mixed, costs less than one for each length
        ids = pad(ids, longest)
        vectors = np.empty((len(texts), self.config.dim), np.float32)
        states = np.zeros((len(texts), longest, self.config.hidden_size), np.float32)
        for bucket in np.unique(buckets):
            own = np.flatnonzero(buckets == bucket)
            for rows, batch in _batches(ids[own, :bucket], TEXT_BATCHES):
                batch_vectors, batch_states = self._texts(batch)
                vectors[own[rows]] = batch_vectors[:rows.stop - rows.start]
                states[own[rows], :bucket] = batch_states[:rows.stop - rows.start]
        return TextEncodings(vectors, states, lengths)

    def _match_pairs(self, texts: TextEncodings, tokens: np.ndarray) -> np.ndarray:
        count = max(len(texts), len(tokens))
        valid = (np.arange(texts.states.shape[1]) < texts.lengths[:, None]).astype(np.int32)
        sides = [np.broadcast_to(side, (count, *side.shape[1:])) for side in (texts.states, valid, tokens)]
        out = np.empty(count, np.float32)
        for start in range(0, count, MATCH_BATCH):
            states, ids, images = (_filled(side[start:start + MATCH_BATCH], MATCH_BATCH) for side in sides)
            (logits,) = self._match(states, ids, images.astype(np.float32))
            out[start:start + MATCH_BATCH] = logits[:count - start]
        return out

    def _bucket(self, length: int) -> int:
        return next(n for n in self._lengths if n >= length)


def _batches(rows: np.ndarray, sizes: tuple[int, int]):
    """(slice, batch) pairs: one row alone, or full batches, the last of them filled up with its last row."""
    size = sizes[0] if len(rows) == 1 else sizes[1]
    for start in range(0, len(rows), size):
        batch = rows[start:start + size]
        yield slice(start, start + len(batch)), _filled(batch, size)


def _filled(batch: np.ndarray, size: int) -> np.ndarray:
    if len(batch) == size:
        return batch
    return np.concatenate([batch, np.repeat(batch[-1:], size - len(batch), 0)])
