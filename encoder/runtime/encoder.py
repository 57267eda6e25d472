"""The encoder of one model: sentences and images in; vectors, tokens and match logits out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from encoder import model_folder
from encoder.api import EncodedTexts, ImageEncodings, TextEncodings
from encoder.errors import NoAttention
from encoder.inputs.tokenizer import Tokenizer, pad
from encoder.quantization import dequantize_tokens, quantize_tokens
from encoder.query_bank import read_query_bank
from encoder.runtime.graphs import open_graphs

REGION_COUNTS = (12, 36)
FEWEST_TEXTS = 4
"""The fewest texts that one thread takes when texts are split among threads."""
FEWEST_PAIRS = 2
"""The same for pairs."""
SHARED_TEXTS = 8
"""The most single sentences of several threads that share a batch."""


class OptEncoder:
    """A model folder, loaded: an `encoder.api.Encoder`. Its calls may come from any thread.

    ONNX Runtime runs the graphs on CPU, MindSpore on Ascend (see `encoder/runtime/graphs.py`). Texts are padded to one of a
    few lengths. Single sentences, and pairs, that several threads ask of the same model at the same time share a batch.

    Args:
        folder: the model folder.
        device: "CPU" or "Ascend" (default: PANOPTES_DEVICE, or CPU).
        number: the number of the card, if there are several.

    Raises:
        EncoderError: as `encoder.open_encoder` says.
    """

    text_lengths: tuple[int, ...] = (8, 16, 24, 32, 50)
    """The lengths in tokens to which texts are padded, as far as the model reads them."""

    match_batches: tuple[int, ...] = (8, 32)
    """The numbers of pairs that `match` reads at a time. MindSpore pads to one of these; ONNX Runtime reads up to the last."""

    def __init__(self, folder: Path, device: str | None = None, number: int | None = None):
        self.config = model_folder.read_config(folder)
        self.fingerprint = model_folder.fingerprint(folder)
        self.query_bank = read_query_bank(folder, self.config.dim)
        self.graphs = open_graphs(folder, self.config, self.fingerprint, device, number)
        self.device = self.graphs.device
        self._lengths = _buckets(self.text_lengths, self.config.text_length)
        self._counts = _buckets(REGION_COUNTS, self.config.regions)
        self.on_batch: Callable[[str, int], None] = lambda kind, rows: None
        """Called after each batch with "images", "texts" or "pairs" and the number of rows without padding."""
        self._tokenizer = Tokenizer(model_folder.vocabulary_path(folder), self.config.text_length)

    @property
    def vocabulary(self) -> Tokenizer:
        """What sentences are read by."""
        return self._tokenizer

    def encode_images(self, images: np.ndarray) -> ImageEncodings:
        """Encode n images, each an array that `config.inputs.make` gave; pixels are uint8 [n, S, S, 3].

        The tokens of missing regions are zeros.
        """
        images = np.asarray(images, self.config.inputs.dtype)
        vectors = np.empty((len(images), self.config.dim), np.float32)
        tokens = np.zeros((len(images), *self.config.token_shape), np.float16)
        batches = list(self._batches(len(images), self.graphs.image_batches))
        results = self.graphs.image_worker.map(self._encode_batch, [filled(images[rows], size) for rows, size in batches])
        for (rows, _), (batch_vectors, batch_tokens) in zip(batches, results, strict=True):
            count = rows.stop - rows.start
            vectors[rows], tokens[rows, : batch_tokens.shape[1]] = batch_vectors[:count], batch_tokens[:count]
            self.on_batch("images", count)
        return ImageEncodings(vectors, tokens)

    def encode_texts(self, texts: list[str]) -> EncodedTexts:
        """Encode sentences in any language; T is the bucket of the longest one."""
        ids = self._tokenizer.ids(texts)
        if len(ids) != 1:
            return self._encode_texts(ids)
        row = pad(ids, bucket_of(self._lengths, len(ids[0])))
        key = self.fingerprint, "texts", row.shape[1]
        vectors, states = self.graphs.worker.rows(key, (row,), self._run_texts, SHARED_TEXTS)
        return EncodedTexts(vectors, states, np.array([len(ids[0])], np.int32))

    def match(self, texts: TextEncodings, tokens: np.ndarray) -> np.ndarray:
        """Match logits float32 [max(n, m)] of pairs; more is a better match.

        Args:
            texts: what `encode_texts` gave for n texts.
            tokens: float16 [m, L, W] of m images; n or m is 1, or they are equal.

        Raises:
            ValueError: the texts and images cannot be paired, or the tokens are of another shape.
        """
        count = self._pairs(texts, tokens)
        if count == 0:
            return np.empty(0, np.float32)
        columns = _paired(count, texts.states, _valid(texts), self._without_padding(tokens))
        key = self.fingerprint, "match", *(column.shape[1:] for column in columns)
        return self.graphs.worker.rows(key, columns, self._run_match, self._rows_per_thread(self.match_batches))[0]

    def explain(self, texts: TextEncodings, tokens: np.ndarray) -> np.ndarray:
        """The cross-attention of the fusion for each pair: how much text token t takes of image token l.

        Args:
            texts, tokens: as in `match`.

        Returns:
            float32 [max(n, m), layers, T, L], the mean over the heads of each layer. Each row [L] adds up to 1; rows of
            padding mean nothing.

        Raises:
            NoAttention: `config.token_grid` is None.
            ValueError: as in `match`.
        """
        if self.config.token_grid is None:
            raise NoAttention(self.config.name)
        return self.graphs.worker.call(self._explain, texts, tokens, self._pairs(texts, tokens))

    def spans(self, text: str) -> list[tuple[int, int]]:
        """The characters [start, end) of a sentence that each of its tokens comes from; empty for the marks around it."""
        return self._tokenizer.spans(text)

    def warm_up(self, images: bool = True) -> None:
        """Open the graphs that searches run, or compile each of their shapes.

        Args:
            images: also the graph of images; without it sentences can be searched while that is made ready.
        """
        self.graphs.worker.call(self._run_each_text)
        if images:
            self.graphs.image_worker.call(self._run_each_image)

    def _sizes(self, sizes: tuple[int, ...]) -> tuple[int, ...]:
        """The sizes of a batch to warm up: all sizes if shapes are compiled, else the smallest."""
        return sizes if self.graphs.padded else (1,)

    def _some(self, buckets: list[int]) -> list[int]:
        """The buckets to warm up: all of them if shapes are compiled, else the smallest."""
        return buckets if self.graphs.padded else buckets[:1]

    def _run_each_image(self) -> None:
        inputs, (length, width) = self.config.inputs, self.config.token_shape
        for count in self._sizes(self.graphs.image_batches):
            for regions in self._some(self._counts):
                images = np.zeros((count, *inputs.shape), inputs.dtype)
                self.graphs.run("images", images[:, :regions] if self.config.regions else planes(images))
        if self.graphs.padded and self.config.token_grid is not None:
            ids = np.ones((1, self._lengths[-1]), np.int32)
            tokens = self._read(np.zeros((1, length, width), np.float16))
            self.graphs.run("attention", self._no_states(*ids.shape), ids, tokens)

    def _run_each_text(self) -> None:
        length, width = self.config.token_shape
        for bucket in self._some(self._lengths):
            self._run_texts_of(bucket)
            for count in self._sizes(self.match_batches):
                for regions in self._some(self._counts):
                    tokens = np.zeros((count, length - self.config.regions + regions, width), np.float16)
                    ids = np.ones((count, bucket), np.int32)
                    self.graphs.run("match", self._no_states(count, bucket), ids, self._read(tokens))

    def _run_texts_of(self, bucket: int) -> None:
        for count in self._sizes(self.graphs.text_batches):
            self.graphs.run("texts", np.ones((count, bucket), np.int32))

    def _no_states(self, count: int, length: int) -> np.ndarray:
        """Zeros in the place of the states of n texts, as `match` reads them."""
        return np.zeros((count, length, self.config.hidden_size), np.float32)

    def _batches(self, count: int, sizes: tuple[int, ...]) -> Iterator[tuple[slice, int]]:
        """Split `count` rows into batches: the rows of each, and its size with padding."""
        if self.graphs.padded:
            yield from padded_batches(count, sizes)
        else:
            for start in range(0, count, sizes[-1]):
                size = min(sizes[-1], count - start)
                yield slice(start, start + size), size

    def _rows_per_thread(self, sizes: tuple[int, ...]) -> int:
        """The most rows that one thread runs at a time, so that all threads share a full batch."""
        return sizes[-1] if self.graphs.padded else max(FEWEST_PAIRS, -(-sizes[-1] // self.graphs.worker.threads))

    def _encode_batch(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Encode one batch: vectors float32 [n, D], tokens as they are stored [n, up to L, W]."""
        *vectors, tokens = self.graphs.run("images", self._readable(images))
        return (
            vectors[0] if vectors else np.empty((len(images), 0), np.float32),
            quantize_tokens(tokens) if self.config.compact_tokens else tokens,
        )

    def _readable(self, images: np.ndarray) -> np.ndarray:
        """A batch as the network reads it: float32 planes of pixels, or the regions up to a bucket."""
        if not self.config.regions:
            return planes(images)
        return images[:, : bucket_of(self._counts, int((images[:, :, -1] > 0).sum(1).max()))]

    def _without_padding(self, tokens: np.ndarray) -> np.ndarray:
        """Tokens [m, L, W] without the last ones that are padding in every image, down to a bucket."""
        if not self.config.regions:
            return tokens
        more = self.config.token_shape[0] - self.config.regions
        used = np.flatnonzero(tokens.any((0, 2)))
        return tokens[:, : more + bucket_of(self._counts, max(0, int(used[-1]) + 1 - more) if len(used) else 0)]

    def _read(self, tokens: np.ndarray) -> np.ndarray:
        """Turn stored tokens into float32 [m, L, H], as the network reads them."""
        return dequantize_tokens(tokens) if self.config.compact_tokens else tokens.astype(np.float32)

    def _encode_texts(self, ids: list[list[int]]) -> EncodedTexts:
        lengths = np.array([len(row) for row in ids], np.int32)
        buckets = np.array([bucket_of(self._lengths, length) for length in lengths], np.int32)
        longest = int(buckets.max(initial=self._lengths[0]))
        if len(ids) <= self.graphs.text_batches[-1]:
            buckets[:] = longest  # one batch, however mixed, costs less than one for each length
        padded = pad(ids, longest)
        vectors = np.empty((len(ids), self.config.dim), np.float32)
        states = np.zeros((len(ids), longest, self.config.hidden_size), np.float32)
        for bucket in np.unique(buckets):
            own = np.flatnonzero(buckets == bucket)
            share = max(FEWEST_TEXTS, -(-len(own) // self.graphs.worker.threads))
            size = min(self._rows_per_thread(self.graphs.text_batches), share)
            parts = [own[start : start + size] for start in range(0, len(own), size)]
            results = self.graphs.worker.map(self._run_texts, [padded[part, :bucket] for part in parts])
            for part, (part_vectors, part_states) in zip(parts, results, strict=True):
                vectors[part], states[part, :bucket] = part_vectors, part_states
        return EncodedTexts(vectors, states, lengths)

    def _run_texts(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Run ids int32 [n, T] of one bucket: vectors float32 [n, D], states float32 [n, T, H]."""
        parts = [
            [out[: rows.stop - rows.start] for out in self.graphs.run("texts", filled(ids[rows], size))]
            for rows, size in self._batches(len(ids), self.graphs.text_batches)
        ]
        vectors, states = (np.concatenate(column) for column in zip(*parts, strict=True))
        self.on_batch("texts", len(ids))
        return vectors, states

    def _run_match(self, *sides: np.ndarray) -> tuple[np.ndarray]:
        """Run n pairs.

        Args:
            sides: states of texts [n, T, H]; 1 for real tokens, 0 for padding, int32 [n, T]; stored tokens [n, L, W].

        Returns:
            One array: match logits float32 [n].
        """
        parts = []
        for rows, size in self._batches(len(sides[0]), self.match_batches):
            states, ids, images = (filled(side[rows], size) for side in sides)
            parts.append(self.graphs.run("match", states, ids, self._read(images))[0][: rows.stop - rows.start])
        self.on_batch("pairs", len(sides[0]))
        return (np.concatenate(parts),)

    def _explain(self, texts: TextEncodings, tokens: np.ndarray, count: int) -> np.ndarray:
        length, longest = texts.states.shape[1], self._lengths[-1]
        states = np.pad(texts.states, ((0, 0), (0, longest - length), (0, 0)))
        ids = np.pad(_valid(texts), ((0, 0), (0, longest - length)))
        sides = _paired(count, states, ids, self._read(tokens))
        run = self.graphs.run
        weights = [run("attention", *(side[i : i + 1] for side in sides))[0][:, :, :length] for i in range(count)]
        none = np.empty((0, self.config.stacks["fusion"], length, tokens.shape[1]), np.float32)
        return np.concatenate([none, *weights])

    def _pairs(self, texts: TextEncodings, tokens: np.ndarray) -> int:
        """The number of pairs of n texts with m images.

        Raises:
            ValueError: they cannot be paired, or the tokens are of another shape.
        """
        if len(texts) != len(tokens) and 1 not in (len(texts), len(tokens)):
            raise ValueError(f"{len(texts)} texts cannot be paired with {len(tokens)} images")
        if tokens.shape[1:] != self.config.token_shape:
            raise ValueError(f"tokens of {list(tokens.shape[1:])}, where an image has {list(self.config.token_shape)}")
        return max(len(texts), len(tokens)) if len(texts) and len(tokens) else 0


def _buckets(sizes: tuple[int, ...], largest: int) -> list[int]:
    """Those of `sizes` that are smaller than the largest, and the largest."""
    return [*(n for n in sizes if n < largest), largest]


def bucket_of(buckets: list[int], needed: int) -> int:
    """The smallest bucket that holds so many."""
    return next(n for n in buckets if n >= needed)


def planes(pixels: np.ndarray) -> np.ndarray:
    """Turn uint8 [n, S, S, 3] into float32 [n, 3, S, S]."""
    return pixels.transpose(0, 3, 1, 2).astype(np.float32)


def _paired(count: int, *sides: np.ndarray) -> tuple[np.ndarray, ...]:
    """Repeat arrays [1, ...] to [count, ...]; arrays [count, ...] stay."""
    return tuple(np.broadcast_to(side, (count, *side.shape[1:])) for side in sides)


def _valid(texts: TextEncodings) -> np.ndarray:
    """int32 [n, T]: 1 for real tokens, 0 for padding."""
    return (np.arange(texts.states.shape[1]) < texts.lengths[:, None]).astype(np.int32)


def padded_batches(count: int, sizes: tuple[int, ...]) -> Iterator[tuple[slice, int]]:
    """Split `count` rows into batches of the given sizes: the rows of each, and its size with padding.

    Two batches of a smaller size are preferred to one that is half padding: on CPU they cost less.
    """
    start = 0
    while start < count:
        left = count - start
        size = next(size for size, larger in zip(sizes, (*sizes[1:], 0), strict=True) if left <= 2 * size or not larger)
        yield slice(start, start + min(left, size)), size
        start += size


def filled(batch: np.ndarray, size: int) -> np.ndarray:
    """Fill up a batch to `size` rows by repeating its last row."""
    if len(batch) == size:
        return batch
    return np.concatenate([batch, np.repeat(batch[-1:], size - len(batch), 0)])
