"""The encoder as the rest of Panoptes sees it: three calls, fixed shapes underneath, one worker thread."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mindspore import Tensor, nn

from encoder import checkpoint
from encoder.device import CompiledCell, process_cache, use_device
from encoder.joining import SharedWorker
from encoder.network import OptModel
from encoder.query_bank import read_query_bank
from encoder.tokenizer import Tokenizer, pad

IMAGE_BATCHES = (1, 8)
TEXT_BATCHES = (1, 8, 32)
MATCH_BATCHES = (8, 32)
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


class _Attention(nn.Cell):
    def __init__(self, model: OptModel):
        super().__init__()
        self.model = model

    def construct(self, states, ids, tokens):
        """states [B, T, H], ids int32 [B, T], tokens [B, L, H] -> where the fusion looks [B, layers, T, L]."""
        return self.model.match_attention(states, ids, tokens)


class Encoder:
    """A model folder, loaded: `encode_images`, `encode_texts`, `match`, `explain`. All of it may be called from any thread.

    One worker thread runs every graph, so that MindSpore sees one caller; a batch is padded to one of a few fixed
    shapes, each compiled once and kept in the compile cache (PANOPTES_CACHE, by default ~/.cache/panoptes). Single sentences,
    and pairs, that several threads ask for at the same time share a batch.
    """

    match_batches = MATCH_BATCHES
    """How many pairs `match` reads at a time: fewer cost as much as the next of these."""

    def __init__(self, folder: Path, device: str | None = None):
        self.config = checkpoint.read_config(folder)
        self.fingerprint = checkpoint.fingerprint(folder)
        self.query_bank = read_query_bank(folder, self.config.dim)
        self.device = use_device(device)
        self._lengths = [n for n in LENGTHS if n <= self.config.text_length] or [self.config.text_length]
        if self._lengths[-1] < self.config.text_length:
            self._lengths.append(self.config.text_length)
        self._tokenizer = Tokenizer(checkpoint.vocabulary_path(folder), self.config.text_length)
        self._worker = SharedWorker("encoder")
        self._worker.call(self._load, folder)

    def _load(self, folder: Path) -> None:
        model = OptModel(self.config)
        parameters = dict(model.parameters_and_names())
        weights = checkpoint.read_weights(folder)
        checkpoint.check({name: p.shape for name, p in parameters.items()}, weights, folder)
        for name, parameter in parameters.items():
            parameter.set_data(Tensor(weights[name].astype(np.float32)))
        model.set_train(False)
        cache = process_cache(self.fingerprint, self.device)
        self._images, self._texts, self._match, self._attention = (
            CompiledCell(cell(model).set_train(False), cache) for cell in (_Images, _Texts, _Match, _Attention))

    def encode_images(self, pixels: np.ndarray) -> ImageEncodings:
        """uint8 [n, S, S, 3], as `pixels.prepare` makes them, to unit vectors and tokens."""
        return self._worker.call(self._encode_images, np.asarray(pixels, np.uint8))

    def encode_texts(self, texts: list[str]) -> TextEncodings:
        """Sentences in English, Chinese or both to unit vectors and token states.

        T is the longest one's bucket; states beyond a sentence's own length mean nothing.
        """
        ids = self._tokenizer.ids(texts)
        if len(ids) != 1:
            return self._worker.call(self._encode_texts, ids)
        row = pad(ids, self._bucket(len(ids[0])))
        vectors, states = self._worker.rows(("texts", row.shape[1]), (row,), self._run_texts, TEXT_BATCHES[1])
        return TextEncodings(vectors, states, np.array([len(ids[0])], np.int32))

    def match(self, texts: TextEncodings, tokens: np.ndarray) -> np.ndarray:
        """Match logits float32 [max(n, m)] of n texts with m images' tokens [m, L, H]; n or m is 1, or they are equal."""
        count = self._pairs(texts, tokens)
        if count == 0:
            return np.empty(0, np.float32)
        sides = texts.states, _valid(texts), tokens
        columns = tuple(np.broadcast_to(side, (count, *side.shape[1:])) for side in sides)
        key = "match", texts.states.shape[1:], tokens.shape[1:]
        return self._worker.rows(key, columns, self._run_match, MATCH_BATCHES[-1])[0]

    def explain(self, texts: TextEncodings, tokens: np.ndarray) -> np.ndarray:
        """Where the fusion looks when it reads each pair, float32 [max(n, m), layers, T, L]; n texts, m images as in `match`.

        How much text token t takes of image token l, the mean over the heads of a layer's cross-attention: rows add up to 1.
        Those beyond a sentence's own length mean nothing.
        """
        return self._worker.call(self._explain, texts, tokens, self._pairs(texts, tokens))

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Where in a sentence each of its tokens comes from, [start, end) in characters; empty for the marks around it."""
        return self._tokenizer.spans(text)

    def warm_up(self) -> None:
        """Compile every shape there is: after this, none is met that has to be."""
        self._worker.call(self._compile)

    def _compile(self) -> None:
        size, (length, width) = self.config.image_size, self.config.token_shape

        def pairs(count: int, bucket: int) -> tuple[np.ndarray, ...]:
            ids = np.ones((count, bucket), np.int32)
            return np.zeros((count, bucket, width), np.float32), ids, np.zeros((count, length, width), np.float32)

        for count in IMAGE_BATCHES:
            self._images(np.zeros((count, 3, size, size), np.float32))
        for bucket in self._lengths:
            for count in TEXT_BATCHES:
                self._texts(np.ones((count, bucket), np.int32))
            for count in MATCH_BATCHES:
                self._match(*pairs(count, bucket))
        self._attention(*pairs(1, self._lengths[-1]))

    def _encode_images(self, pixels: np.ndarray) -> ImageEncodings:
        vectors = np.empty((len(pixels), self.config.dim), np.float32)
        tokens = np.empty((len(pixels), *self.config.token_shape), np.float16)
        for rows, size in _batches(len(pixels), IMAGE_BATCHES):
            planes = _filled(pixels[rows], size).transpose(0, 3, 1, 2).astype(np.float32)
            for out, value in zip((vectors, tokens), self._images(planes), strict=True):
                out[rows] = value[:rows.stop - rows.start]
        return ImageEncodings(vectors, tokens)

    def _encode_texts(self, ids: list[list[int]]) -> TextEncodings:
        lengths = np.array([len(row) for row in ids], np.int32)
        buckets = np.array([self._bucket(length) for length in lengths], np.int32)
        longest = int(buckets.max(initial=self._lengths[0]))
        if len(ids) <= TEXT_BATCHES[-1]:
            buckets[:] = longest  # one batch, however mixed, costs less than one for each length
        padded = pad(ids, longest)
        vectors = np.empty((len(ids), self.config.dim), np.float32)
        states = np.zeros((len(ids), longest, self.config.hidden_size), np.float32)
        for bucket in np.unique(buckets):
            own = np.flatnonzero(buckets == bucket)
            vectors[own], states[own, :bucket] = self._run_texts(padded[own, :bucket])
        return TextEncodings(vectors, states, lengths)

    def _run_texts(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """int32 [n, T] of one bucket -> vectors [n, D], states [n, T, H]."""
        parts = [[out[:rows.stop - rows.start] for out in self._texts(_filled(ids[rows], size))]
                 for rows, size in _batches(len(ids), TEXT_BATCHES)]
        vectors, states = (np.concatenate(column) for column in zip(*parts, strict=True))
        return vectors, states

    def _run_match(self, *sides: np.ndarray) -> tuple[np.ndarray]:
        """states [n, T, H], which tokens are real int32 [n, T], tokens [n, L, H] -> (match logits [n],)."""
        parts = []
        for rows, size in _batches(len(sides[0]), MATCH_BATCHES):
            states, ids, images = (_filled(side[rows], size) for side in sides)
            parts.append(self._match(states, ids, images.astype(np.float32))[0][:rows.stop - rows.start])
        return (np.concatenate(parts),)

    def _explain(self, texts: TextEncodings, tokens: np.ndarray, count: int) -> np.ndarray:
        length, longest = texts.states.shape[1], self._lengths[-1]
        states = np.pad(texts.states, ((0, 0), (0, longest - length), (0, 0)))
        ids = np.pad(_valid(texts), ((0, 0), (0, longest - length)))
        sides = [np.broadcast_to(side, (count, *side.shape[1:])) for side in (states, ids, tokens.astype(np.float32))]
        looks = [self._attention(*(side[i:i + 1] for side in sides))[0][:, :, :length] for i in range(count)]
        return np.concatenate([np.empty((0, self.config.fusion_layers, length, tokens.shape[1]), np.float32), *looks])

    def _pairs(self, texts: TextEncodings, tokens: np.ndarray) -> int:
        """How many pairs n texts make with m images; raises ValueError where they can't be paired."""
        if len(texts) != len(tokens) and 1 not in (len(texts), len(tokens)):
            raise ValueError(f"{len(texts)} texts cannot be paired with {len(tokens)} images")
        if tokens.shape[1:] != self.config.token_shape:
            raise ValueError(f"tokens of {list(tokens.shape[1:])}, where an image has {list(self.config.token_shape)}")
        return max(len(texts), len(tokens)) if len(texts) and len(tokens) else 0

    def _bucket(self, length: int) -> int:
        return next(n for n in self._lengths if n >= length)


def _valid(texts: TextEncodings) -> np.ndarray:
    """1 for each text's own tokens, 0 for padding, int32 [n, T]."""
    return (np.arange(texts.states.shape[1]) < texts.lengths[:, None]).astype(np.int32)


def _batches(count: int, sizes: tuple[int, ...]):
    """(rows, size) of each batch that `count` rows go into.

    A size is left for the next smaller one where two of that do: on CPU they cost less than one that is filled up by half.
    """
    start = 0
    while start < count:
        left = count - start
        size = next(size for size, larger in zip(sizes, (*sizes[1:], 0), strict=True) if left <= 2 * size or not larger)
        yield slice(start, start + min(left, size)), size
        start += size


def _filled(batch: np.ndarray, size: int) -> np.ndarray:
    """A batch with its last row repeated up to `size`."""
    if len(batch) == size:
        return batch
    return np.concatenate([batch, np.repeat(batch[-1:], size - len(batch), 0)])
