"""The encoder of a model without vectors, which can only re-rank."""

from __future__ import annotations

import numpy as np

from encoder.api import EncodedTexts
from encoder.inputs.tokenizer import pad
from encoder.runtime.encoder import OptEncoder, bucket_of


class Reranker(OptEncoder):
    """An `OptEncoder` whose vectors are 0 wide, and whose states of texts are their token ids, int32 [n, T].

    A pair costs a whole pass of the joint blocks, so that batches are small. It cannot explain: it has no cross-attention.
    """

    text_lengths = (16, 32, 50)
    match_batches = (4,)

    def encode_texts(self, texts: list[str]) -> EncodedTexts:
        """Turn sentences into token ids, which are all that `match` reads of them; no graph runs."""
        ids = self._tokenizer.ids(texts)
        lengths = np.array([len(row) for row in ids], np.int32)
        states = pad(ids, bucket_of(self._lengths, int(lengths.max(initial=1))))
        return EncodedTexts(np.empty((len(texts), 0), np.float32), states, lengths)

    def _run_texts_of(self, bucket: int) -> None:
        """Do nothing: texts are not read on their own."""

    def _no_states(self, count: int, length: int) -> np.ndarray:
        return np.zeros((count, length), np.int32)
