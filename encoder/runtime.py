"""The encoder as the rest of Panoptes sees it: three calls, fixed shapes underneath, one worker thread."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mindspore import Tensor, nn

from encoder import checkpoint
from encoder.compact import pack_tokens, unpack_tokens
from encoder.device import CompiledCell, give_back_memory, process_cache, use_device, worker
from encoder.network import OptModel
from encoder.query_bank import read_query_bank
from encoder.tokenizer import Tokenizer, pad

IMAGE_BATCHES = (1, 8)
TEXT_BATCHES = (1, 32)
REGION_COUNTS = (12, 36)


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

    network = OptModel
    cells = (_Images, _Texts, _Match)
    text_lengths = (8, 16, 24, 32, 50)
    match_batch = 32

    def __init__(self, folder: Path, device: str | None = None, number: int | None = None):
        self.config = checkpoint.read_config(folder)
        self.fingerprint = checkpoint.fingerprint(folder)
        self.query_bank = read_query_bank(folder, self.config.dim)
        self.device = use_device(device, number)
        self._lengths = _buckets(self.text_lengths, self.config.text_length)
        self._counts = _buckets(REGION_COUNTS, self.config.regions)
        self._tokenizer = Tokenizer(checkpoint.vocabulary_path(folder), self.config.text_length)
        worker.submit(self._load, folder).result()
        give_back_memory()

    def _load(self, folder: Path) -> None:
        model = self.network(self.config)
        parameters = dict(model.parameters_and_names())
        weights = checkpoint.read_weights(folder)
        checkpoint.check({name: p.shape for name, p in parameters.items()}, weights, folder)
        for name, parameter in parameters.items():
            parameter.set_data(Tensor(weights[name].astype(np.float32)))
        model.set_train(False)
        cache = process_cache(self.device)
        self._images, self._texts, self._match = (
            cell and CompiledCell(cell(model).set_train(False), cache, self.fingerprint) for cell in self.cells)

    def encode_images(self, images: np.ndarray) -> ImageEncodings:
        """What `config.inputs` makes of n images, such as pixels uint8 [n, S, S, 3], to unit vectors and tokens.

        The tokens of regions that aren't there are zeros.
        """
        return worker.submit(self._encode_images, np.asarray(images, self.config.inputs.dtype)).result()

    def encode_texts(self, texts: list[str]) -> TextEncodings:
        """Sentences in English, Chinese or both to unit vectors and token states.

        T is the longest one's bucket; states beyond a sentence's own length mean nothing.
        """
        return worker.submit(self._encode_texts, list(texts)).result()

    def match(self, texts: TextEncodings, tokens: np.ndarray) -> np.ndarray:
        """Match logits float32 [max(n, m)] of n texts with m images' tokens [m, L, H]; n or m is 1, or they are equal."""
        if len(texts) != len(tokens) and 1 not in (len(texts), len(tokens)):
            raise ValueError(f"{len(texts)} texts cannot be paired with {len(tokens)} images")
        return worker.submit(self._match_pairs, texts, tokens).result()

    def warm_up(self) -> None:
        """Compile every shape that a query or an index build uses."""
        inputs, shape = self.config.inputs, self.config.inputs.shape
        encoded = [self._warm_images(np.zeros((count, *shape), inputs.dtype)) for count in IMAGE_BATCHES][-1]
        for bucket in self._lengths:
            for count in TEXT_BATCHES:
                texts = self.encode_texts(["a " * (bucket - 4)] * count)
            for tokens in encoded:
                self.match(texts, tokens)

    def _warm_images(self, images: np.ndarray) -> list[np.ndarray]:
        """Compile every number of regions; gives tokens [1, L, W] of each."""
        if not self.config.regions:
            return [self.encode_images(images).tokens[:1]]
        encoded = []
        for count in self._counts:
            images[:, :count] = 1
            encoded.append(self.encode_images(images).tokens[:1])
        return encoded

    def _encode_images(self, images: np.ndarray) -> ImageEncodings:
        vectors = np.empty((len(images), self.config.dim), np.float32)
        tokens = np.zeros((len(images), *self.config.token_shape), np.float16)
        for rows, batch in _batches(images, IMAGE_BATCHES):
            count = rows.stop - rows.start
            *batch_vectors, batch_tokens = self._images(self._readable(batch))
            kept = pack_tokens(batch_tokens[:count]) if self.config.compact_tokens else batch_tokens[:count]
            tokens[rows, :kept.shape[1]] = kept
            for value in batch_vectors:
                vectors[rows] = value[:count]
        return ImageEncodings(vectors, tokens)

    def _readable(self, images: np.ndarray) -> np.ndarray:
        """A batch as the network takes it: float32 planes of pixels, or no more rows of regions than its bucket."""
        if not self.config.regions:
            return images.transpose(0, 3, 1, 2).astype(np.float32)
        return images[:, :bucket_of(self._counts, int((images[:, :, -1] > 0).sum(1).max()))]

    def _worth_reading(self, tokens: np.ndarray) -> np.ndarray:
        """Tokens [m, L, W] without those at the end that are padding in all of them, down to a bucket."""
        if not self.config.regions:
            return tokens
        more = self.config.token_shape[0] - self.config.regions
        used = np.flatnonzero(tokens.any((0, 2)))
        return tokens[:, :more + bucket_of(self._counts, max(0, int(used[-1]) + 1 - more) if len(used) else 0)]

    def _encode_texts(self, texts: list[str]) -> TextEncodings:
        ids = self._tokenizer.ids(texts)
        lengths = np.array([len(row) for row in ids], np.int32)
        buckets = np.array([bucket_of(self._lengths, length) for length in lengths], np.int32)
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
        count, size = max(len(texts), len(tokens)), self.match_batch
        tokens = self._worth_reading(tokens)
        valid = (np.arange(texts.states.shape[1]) < texts.lengths[:, None]).astype(np.int32)
        sides = [np.broadcast_to(side, (count, *side.shape[1:])) for side in (texts.states, valid, tokens)]
        out = np.empty(count, np.float32)
        for start in range(0, count, size):
            states, ids, images = (_filled(side[start:start + size], size) for side in sides)
            read = unpack_tokens(images) if self.config.compact_tokens else images.astype(np.float32)
            (logits,) = self._match(states, ids, read)
            out[start:start + size] = logits[:count - start]
        return out


def _buckets(sizes: tuple[int, ...], largest: int) -> list[int]:
    """Those of `sizes` that are smaller than the largest, and that."""
    return [*(n for n in sizes if n < largest), largest]


def bucket_of(buckets: list[int], needed: int) -> int:
    """The smallest of the buckets that is enough."""
    return next(n for n in buckets if n >= needed)


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
