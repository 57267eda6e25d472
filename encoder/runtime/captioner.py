"""Runs a network that writes captions: an image's tokens in, captions out. Never imports mindspore."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from encoder import model_folder
from encoder.api import Encoder, ImageConfig, WrittenCaption
from encoder.captioner_config import CaptioningConfig
from encoder.captioning.beam_search import Found, Rules, search
from encoder.errors import UnwrittenLanguage
from encoder.inputs.tokenizer import PAD, Tokenizer
from encoder.quantization import dequantize_tokens
from encoder.runtime.encoder import filled, padded_batches, planes
from encoder.runtime.graphs import Graphs, open_graphs

MOST_IMAGES = 8
"""The most images whose captions are searched for at once, by one thread."""
PADDED_IMAGES = (1, MOST_IMAGES)
"""The same where each number is compiled."""


class Captioner:
    """A model folder that writes captions, loaded: an `encoder.api.CaptionWriter`. Its calls may come from any thread.

    One that reads the tokens of an encoder can't read images itself: `EncoderCaptioner` joins the two.

    Args:
        folder: the model folder.
        device: "CPU" or "Ascend" (default: PANOPTES_DEVICE, or CPU).
        number: the number of the card, if there are several.

    Raises:
        CannotWrite: the model searches.
        EncoderError: as `encoder.open_encoder` says.
    """

    def __init__(self, folder: Path, device: str | None = None, number: int | None = None):
        self.config = model_folder.read_captioner_config(folder)
        self.fingerprint = model_folder.fingerprint(folder)
        self.graphs = open_graphs(folder, self.config, self.fingerprint, device, number)
        self._tokenizer = Tokenizer(model_folder.vocabulary_path(folder), self.config.caption_length)
        self._rules = _rules(self.config, self._tokenizer)

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages that it writes."""
        return self.config.languages

    @property
    def encoder_fingerprint(self) -> str | None:
        """The encoder whose stored tokens it reads; None: it reads only tokens that it has made itself."""
        return self.config.encoder or None

    def encode_images(self, images: np.ndarray) -> np.ndarray:
        """Read n images, each an array that `config.inputs.make` gave -> tokens float32 [n, L, W]."""
        assert self.config.reads_images, "a captioner that reads an encoder's tokens is opened with that encoder"
        batches = [(rows, images[rows]) for rows, _ in self._batches(len(images), self.graphs.image_batches)]
        results = self.graphs.image_worker.map(self._encode, [batch for _, batch in batches])
        return np.concatenate([np.empty((0, *self.config.token_shape), np.float32), *results])

    def write(self, tokens: np.ndarray, language: str, beams: int = 4) -> list[WrittenCaption]:
        """Write a caption of each of n images (see `encoder.api.CaptionWriter.write`).

        Raises:
            UnwrittenLanguage: the model doesn't write this language.
            ValueError: the tokens are of another shape.
        """
        found = self.search(tokens, language, beams)
        return [WrittenCaption(self._tokenizer.text(one.ids), one.log_probability) for one in found]

    def search(self, tokens: np.ndarray, language: str, beams: int = 4) -> list[Found]:
        """Find the ids of a caption of each of n images; otherwise as `write`."""
        begin = dict(self.config.begin).get(language)
        if begin is None:
            raise UnwrittenLanguage(language, self.languages)

        def run(rows: slice) -> list[Found]:
            memory, count = self._memory(tokens[rows]), rows.stop - rows.start
            captions = _Captions(self.graphs, self.config, memory)
            found = search(
                captions.next_word, [begin] * len(memory), self.config.end, self.config.caption_length, beams, self._rules
            )
            return found[:count]

        self._check(tokens)
        parts = self.graphs.worker.map(run, [rows for rows, _ in self._batches(len(tokens), PADDED_IMAGES)])
        return [one for part in parts for one in part]

    def log_probabilities(self, tokens: np.ndarray, ids: np.ndarray) -> np.ndarray:
        """Score given captions, word by word ("teacher forcing").

        Args:
            tokens: of n images, as `write` takes them.
            ids: what each word is written after, its begin first, int32 [n, T].

        Returns:
            The log-probabilities of what comes next after each, float32 [n, T, V].
        """
        self._check(tokens)

        def run(rows: slice) -> np.ndarray:
            memory = self._memory(tokens[rows])
            captions, words = _Captions(self.graphs, self.config, memory), filled(ids[rows], len(memory))
            alone = np.zeros((len(memory), 1), np.int64)
            scores = [captions.next_word(words[:, place : place + 1], alone)[:, 0] for place in range(words.shape[1])]
            return np.stack(scores, 1)[: rows.stop - rows.start]

        return np.concatenate(self.graphs.worker.map(run, [rows for rows, _ in self._batches(len(tokens), PADDED_IMAGES)]))

    def _encode(self, images: np.ndarray) -> np.ndarray:
        size = min(one for one in self.graphs.image_batches if one >= len(images)) if self.graphs.padded else len(images)
        readable = np.asarray(filled(images, size), self.config.inputs.dtype)
        return self.graphs.run("images", planes(readable) if self.config.image_size else readable)[0][: len(images)]

    def _memory(self, tokens: np.ndarray) -> np.ndarray:
        """What the captions of images attend to, [N, 2 * layers, L, H]; N has room for padding."""
        if tokens.shape[2] != self.config.hidden_size:
            tokens = dequantize_tokens(tokens)
        size = min(one for one in PADDED_IMAGES if one >= len(tokens)) if self.graphs.padded else len(tokens)
        return self.graphs.run("memory", filled(tokens.astype(np.float32), size))[0]

    def _batches(self, count: int, sizes: tuple[int, ...]) -> Iterator[tuple[slice, int]]:
        """Split images into batches; where none is padded, so that every thread has some."""
        if self.graphs.padded:
            yield from padded_batches(count, sizes)
            return
        size = max(1, min(sizes[-1], -(-count // self.graphs.worker.threads)))
        for start in range(0, count, size):
            yield slice(start, min(start + size, count)), size

    def _check(self, tokens: np.ndarray) -> None:
        length, width = self.config.token_shape
        stored = (length, width // 2 + 1) if not self.config.reads_images else (length, width)
        if tokens.shape[1:] not in ((length, width), stored):
            raise ValueError(f"tokens of {list(tokens.shape[1:])}, where an image has {[length, width]}")


class EncoderCaptioner:
    """A captioner with the encoder whose tokens it reads: an `encoder.api.CaptionWriter` that reads images too."""

    def __init__(self, encoder: Encoder, captioner: Captioner):
        self.encoder, self.captioner = encoder, captioner

    @property
    def config(self) -> ImageConfig:
        """What the encoder reads of an image."""
        return self.encoder.config

    @property
    def fingerprint(self) -> str:
        """The captioner's, which covers that of the encoder."""
        return self.captioner.fingerprint

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages that the captioner writes."""
        return self.captioner.languages

    @property
    def encoder_fingerprint(self) -> str | None:
        """The encoder's, whose stored tokens are read."""
        return self.captioner.encoder_fingerprint

    def encode_images(self, images: np.ndarray) -> np.ndarray:
        """Encode n images with the encoder -> the tokens that it stores, [n, L, W]."""
        return self.encoder.encode_images(images).tokens

    def write(self, tokens: np.ndarray, language: str, beams: int = 4) -> list[WrittenCaption]:
        """Write a caption of each of n images (see `encoder.api.CaptionWriter.write`)."""
        return self.captioner.write(tokens, language, beams)


class _Captions:
    """The captions of some images that a search goes on with. Keys and values of their words are kept.

    Attributes:
        memory: of n images, [n, 2 * layers, L, H].
    """

    def __init__(self, graphs: Graphs, config: CaptioningConfig, memory: np.ndarray):
        self._graphs, self._config, self._memory = graphs, config, memory
        self._kept = np.empty(0, np.float32)
        self._place = -1

    def next_word(self, words: np.ndarray, sources: np.ndarray) -> np.ndarray:
        """Score the next words (see `encoder.captioning.beam_search.NextWord`)."""
        self._place += 1
        places = np.zeros((*words.shape, self._config.caption_length), np.float32)
        places[:, :, self._place] = 1
        if self._config.bidirectional:
            self._go_on(sources, (self._config.caption_length,), np.int32)
            self._kept[:, :, self._place] = words
            return self._graphs.run("next_word", self._kept, places, self._memory)[0]
        self._go_on(sources, self._config.cache_shape, np.float32)
        scores, own = self._graphs.run("step", words.astype(np.int32), places, self._kept, self._memory)
        self._kept[:, :, :, self._place] = own
        return scores

    def _go_on(self, sources: np.ndarray, shape: tuple[int, ...], dtype: type[np.generic]) -> None:
        """Let each beam have what its source has kept; at first nothing."""
        if self._place == 0:
            self._kept = np.full((*sources.shape, *shape), PAD, dtype)
        elif (sources != np.arange(sources.shape[1])).any():
            self._kept = self._kept[np.arange(len(sources))[:, None], sources]


def _rules(config: CaptioningConfig, tokenizer: Tokenizer) -> Rules:
    """What the search of a captioner excludes and favours."""
    if not config.guarded:
        return Rules(length_weight=config.length_penalty)
    marks = {number for number in range(config.vocab_size) if tokenizer.is_mark(number)} | {one for _, one in config.begin}
    return Rules(tuple(sorted(marks - {config.end})), no_repeats=True, length_weight=config.length_penalty)
