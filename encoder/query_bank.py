"""The query bank: vectors of many queries, by which hubs are found.

A hub is an image or caption that is near to most queries, also to those that have nothing to do with it. The bank belongs
to a model, not to a collection (QB-Norm, Bogolin et al. 2022, CVPR; inverted softmax, Smith et al. 2017, ICLR).
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
    """Unit vectors of queries.

    Attributes:
        texts: of sentences by language, each float32 [n, D].
        images: of photos, float32 [m, D].
    """

    texts: dict[str, np.ndarray]
    images: np.ndarray

    def sentences(self, language: str | None) -> np.ndarray:
        """The vectors of one language, float32 [n, D]; of all languages if the bank does not have this one."""
        if language in self.texts:
            return self.texts[language]
        return np.concatenate([*self.texts.values(), self.images[:0]])

    def write(self, folder: Path) -> None:
        """Write the bank into a model folder, in 8 bits."""
        stored = {}
        for name, vectors in {**self.texts, IMAGES: self.images}.items():
            stored[name], stored[name + SCALES] = quantize(vectors)
        save_file(stored, folder / FILE)


def read_query_bank(folder: Path, dim: int) -> QueryBank | None:
    """Read the bank of a model folder; None if it has none.

    Args:
        dim: D of the model.

    Raises:
        BadCheckpoint: the bank can't be read, or is of vectors of another width.
    """
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
    """How near each candidate is to queries in general.

    It is log(mean of exp(sharpness * cosine) over the bank) / sharpness. Subtracting it from a cosine gives the inverted
    softmax.

    Args:
        vectors: unit vectors of the candidates, float [k, D].
        bank: unit vectors of the queries, float [n, D].
        sharpness: how much more the nearest queries count than the others.

    Returns:
        float64 [k], on the scale of a cosine; zeros if the bank is empty.
    """
    if not len(bank):
        return np.zeros(len(vectors))
    exponents = sharpness * (np.asarray(vectors, np.float32) @ np.asarray(bank, np.float32).T).astype(np.float64)
    highest = exponents.max(1, keepdims=True)
    return (highest[:, 0] + np.log(np.exp(exponents - highest).mean(1))) / sharpness
