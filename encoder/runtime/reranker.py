"""The encoder of a model that has no vectors: it keeps tokens of images, and reads pairs."""

from __future__ import annotations

import numpy as np

from encoder.api import EncodedTexts
from encoder.inputs.tokenizer import pad
from encoder.runtime.encoder import OptEncoder, bucket_of


class Reranker(OptEncoder):
    """An OptEncoder whose vectors are 0 wide, and whose texts' states are their token ids int32 [n, T].

    A pair costs a whole pass of the joint blocks, so that batches are small. Nothing in it says where a sentence looks.
    """

    text_lengths = (16, 32, 50)
    match_batches = (4,)

    def encode_texts(self, texts: list[str]) -> EncodedTexts:
        """Sentences to token ids, which are all that `match` reads of them; no graph has to run."""
        ids = self._tokenizer.ids(texts)
        lengths = np.array([len(row) for row in ids], np.int32)
        states = pad(ids, bucket_of(self._lengths, int(lengths.max(initial=1))))
        return EncodedTexts(np.empty((len(texts), 0), np.float32), states, lengths)

    def _run_texts_of(self, bucket: int) -> None:
        """Nothing: texts aren't read on their own."""

    def _no_states(self, count: int, length: int) -> np.ndarray:
        return np.zeros((count, length), np.int32)
