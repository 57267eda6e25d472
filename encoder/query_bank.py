"""The query bank: what many queries of many kinds look like, by which images and captions that answer to all can be told.

Such hubs turn up for queries that have nothing to do with them. The bank goes with a model, not with a collection
(QB-Norm, Bogolin et al. 2022, CVPR; the inverted softmax of Smith et al. 2017, ICLR).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from encoder.errors import BadCheckpoint
from encoder.quantization import dequantize, quantize

FILE = "query_bank.safetensors"
IMAGES, SCALES = "images", ":scales"


@dataclass(frozen=True, eq=False)
class QueryBank:
    """Unit vectors of queries: `texts` by language, each float32 [n, D], and `images` float32 [m, D]."""

    texts: dict[str, np.ndarray]
    images: np.ndarray

    def sentences(self, language: str | None) -> np.ndarray:
        """float32 [n, D] in one language, or in all of them where it has none of that language."""
        if language in self.texts:
            return self.texts[language]
        return np.concatenate([*self.texts.values(), self.images[:0]])

    def write(self, folder: Path) -> None:
        """Write it beside a model's weights, in 8 bits."""
        stored = {}
        for name, vectors in {**self.texts, IMAGES: self.images}.items():
            stored[name], stored[name + SCALES] = quantize(vectors)
        save_file(stored, folder / FILE)


def read_query_bank(folder: Path, dim: int) -> QueryBank | None:
    """The bank of a model folder, or None where it has none; raises BadCheckpoint for one that can't be used."""
    path = folder / FILE
    if not path.exists():
        return None
    try:
        stored = load_file(path)
        vectors = {
            name: dequantize(codes, stored[name + SCALES]) for name, codes in stored.items() if not name.endswith(SCALES)
        }
        images = vectors.pop(IMAGES)
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise BadCheckpoint(f"{path} cannot be read ({error}); fetch the file again, or remove it.") from error
    if any(rows.ndim != 2 or rows.shape[1] != dim for rows in (*vectors.values(), images)):
        raise BadCheckpoint(f"{path} holds vectors of another model: this one's have {dim} numbers; fetch the file again.")
    return QueryBank(vectors, images)


def familiarity(vectors: np.ndarray, bank: np.ndarray, sharpness: float) -> np.ndarray:
    """How near each candidate is to queries in general, float64 [k], on the scale of a cosine.

    The mean of exp(sharpness * cosine) over the bank, brought back to a cosine; to subtract it is the inverted softmax. Zeros
    where the bank is empty.

    Args:
        vectors: float [k, D] of the candidates, of unit length.
        bank: float [n, D] of the queries, of unit length.
        sharpness: how much more the nearest queries count than the others.
    """
    if not len(bank):
        return np.zeros(len(vectors))
    exponents = sharpness * (np.asarray(vectors, np.float32) @ np.asarray(bank, np.float32).T).astype(np.float64)
    highest = exponents.max(1, keepdims=True)
    return (highest[:, 0] + np.log(np.exp(exponents - highest).mean(1))) / sharpness
