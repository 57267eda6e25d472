"""Makes the inputs for all frameworks: a model folder, sentences of exactly 16 tokens, and pictures."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from encoder import model_folder
from encoder.config import PRESETS, OptConfig
from encoder.importing.published import v2_shapes
from encoder.inputs.tokenizer import Tokenizer, wordpiece

TOKENS = 16
SENTENCES, IMAGES = 32, 8
WORDS = [
    "dog",
    "cat",
    "man",
    "woman",
    "child",
    "horse",
    "boat",
    "bicycle",
    "street",
    "beach",
    "field",
    "mountain",
    "river",
    "red",
    "blue",
    "green",
    "small",
    "old",
    "wooden",
    "running",
    "sitting",
    "standing",
    "playing",
    "jumping",
    "holding",
    "behind",
    "near",
    "under",
    "across",
    "the",
    "a",
    "and",
    "with",
    "two",
    "on",
    "in",
]
WEIGHT_STD = 0.05


def write_opt_v2_base(folder: Path, config: OptConfig = PRESETS["opt-v2-base"], seed: int = 0) -> Path:
    """Write a model folder of the published shape with seeded random weights, without the parts that retrieval doesn't use.

    The published weights aren't available, and speed doesn't depend on them. With std 0.05, match logits differ.
    """
    rng = np.random.default_rng(seed)
    weights = {name: _random(rng, name, shape) for name, shape in v2_shapes(config).items()}
    model_folder.write_model(
        folder, dataclasses.replace(config, published_extras=False), weights, _vocabulary(config.vocab_size)
    )
    return folder


def write_inputs(model: Path, path: Path, seed: int = 0) -> Path:
    """Write an .npz with `sentences` [32] of 16 tokens each, their `ids` int32 [32, 16], and `pixels` uint8 [8, S, S, 3]."""
    config, rng = model_folder.read_config(model), np.random.default_rng(seed)
    tokenizer = Tokenizer(model_folder.vocabulary_path(model), config.text_length)
    sentences = [_sentence(tokenizer, rng) for _ in range(SENTENCES)]
    ids = np.array(tokenizer.ids(sentences), np.int32)
    np.savez(path, sentences=np.array(sentences), ids=ids, pixels=np.stack([_picture(rng, config) for _ in range(IMAGES)]))
    return path


def _random(rng: np.random.Generator, name: str, shape: tuple[int, ...]) -> np.ndarray:
    value = rng.standard_normal(shape, np.float32) * np.float32(WEIGHT_STD)
    return value + 1 if name.endswith("gamma") else value


def _vocabulary(size: int) -> bytes:
    """A WordPiece vocabulary of `size` pieces: the special tokens, WORDS, and numbers that no sentence has."""
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS]
    pieces += [f"##{number}" for number in range(size - len(pieces))]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vocab.txt"
        path.write_text("\n".join(pieces) + "\n", encoding="utf-8")
        return wordpiece(path).to_str().encode()


def _sentence(tokenizer: Tokenizer, rng: np.random.Generator) -> str:
    """Random words that are exactly TOKENS tokens, special tokens included."""
    while True:
        words = list(rng.choice(WORDS, TOKENS))
        while words:
            found = len(tokenizer.ids([" ".join(words)])[0])
            if found == TOKENS:
                return " ".join(words)
            if found < TOKENS:
                break
            words.pop()


def _picture(rng: np.random.Generator, config: OptConfig) -> np.ndarray:
    """A picture of soft patches of colour, uint8 [S, S, 3]."""
    coarse = Image.fromarray(rng.integers(0, 256, (7, 7, 3)).astype(np.uint8))
    return np.asarray(coarse.resize((config.image_size, config.image_size), Image.Resampling.BICUBIC))
