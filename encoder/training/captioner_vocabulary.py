"""A captioner's vocabulary and first weights, taken from the model that it is made of."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import tokenizers
from mindspore import Tensor

from encoder.network.captioner import CaptionerModel
from encoder.training.vocabulary import MARKS

LANGUAGES = ("en", "zh")
FIRST_LANGUAGE = len(MARKS)
"""The id of the first language's mark, with which its captions begin."""
END, UNKNOWN = MARKS.index("[SEP]"), MARKS.index("[UNK]")
TABLE = "cls.predictions.decoder.weight"
FUSION = "uniter.encoder.decoder.blocks."


def smaller_tokenizer(path: Path, texts: list[str], fewest: int) -> tuple[tokenizers.Tokenizer, np.ndarray]:
    """Make a tokenizer of the pieces that captions use.

    Args:
        path: the model's own `tokenizer.json`.
        texts: the captions.
        fewest: the least times that a piece of several characters must be used. A single character must be used once.

    Returns:
        The tokenizer, which has a mark for each language after the usual marks; and of each of its pieces the id in the model's
        own vocabulary, int64 [V]. A language's is that of [CLS].
    """
    own = json.loads(path.read_text(encoding="utf-8"))
    pieces = own["model"]["vocab"]
    counts = np.zeros(len(pieces), np.int64)
    for encoding in tokenizers.Tokenizer.from_file(str(path)).encode_batch(texts):
        np.add.at(counts, encoding.ids, 1)
    used = [counts[i] >= (fewest if len(piece) > 1 else 1) for i, (piece, _) in enumerate(pieces)]
    kept = [i for i in range(len(MARKS), len(pieces)) if used[i]]
    languages = [[f"[{language.upper()}]", 0.0] for language in LANGUAGES]
    own["model"]["vocab"] = [*pieces[: len(MARKS)], *languages, *(pieces[i] for i in kept)]
    rows = [*range(len(MARKS)), *[MARKS.index("[CLS]")] * len(LANGUAGES), *kept]
    return tokenizers.Tokenizer.from_str(json.dumps(own, ensure_ascii=False)), np.array(rows, np.int64)


def set_first_weights(model: CaptionerModel, weights: dict[str, np.ndarray], rows: np.ndarray) -> None:
    """Set a captioner's parameters to those of the model that it is made of. What that one lacks stays as it is.

    Args:
        model: the captioner. If it has more fusion blocks, these begin as the other's last one.
        weights: of the model that it is made of.
        rows: of its word table, as `smaller_tokenizer` gives them.
    """
    blocks = 1 + max(int(name.removeprefix(FUSION).split(".")[0]) for name in weights if name.startswith(FUSION))
    for name, parameter in model.parameters_and_names():
        source = _source_of(name, blocks)
        if source in weights:
            value = weights[source].astype(np.float32)
            parameter.set_data(Tensor(value[rows] if name == TABLE else value))


def _source_of(name: str, blocks: int) -> str:
    """The name of the parameter that another one begins as."""
    if not name.startswith(FUSION):
        return name
    number, _, rest = name.removeprefix(FUSION).partition(".")
    return f"{FUSION}{min(int(number), blocks - 1)}.{rest}"
