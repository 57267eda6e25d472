"""Small OPT models with random weights, for tests that need a network but not a trained one."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import tempfile
from pathlib import Path

import numpy as np

from encoder.config import PRESETS, AnyConfig
from encoder.model_folder import CONFIG, read_any_config, rounded, write_model
from encoder.runtime.graph_files import copy_kept_graphs, is_whole, kept_graphs

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "dog", "cat", "on", "the", "beach", "red", "car", "狗", "猫", "红", "色"]
SMALL = dict(
    hidden_size=32,
    dim=16,
    vocab_size=len(WORDS),
    text_layers=2,
    text_heads=2,
    text_intermediate=64,
    text_length=32,
    max_positions=32,
    fusion_layers=2,
    fusion_intermediate=64,
    itm_hidden=64,
    image_layers=2,
    image_heads=2,
    image_intermediate=64,
)

SMALL_V2 = dataclasses.replace(PRESETS["opt-v2-base"], **SMALL, image_size=32, patch_size=16, published_extras=False)
SMALLEST = dataclasses.replace(SMALL_V2, text_layers=1, image_layers=1, fusion_layers=1)
"""For what does not depend on the numbers: it is compiled in half the time."""
SMALL_MINI = dataclasses.replace(
    PRESETS["opt-mini"],
    **SMALL,
    image_size=56,
    patch_size=14,
    grid_features=24,
    grid_stages=((1, 3, 2, 8, 8, 1), (2, 3, 2, 8, 12, 2), (2, 5, 2, 12, 16, 1), (2, 3, 2, 16, 16, 1)),
    int8_weights=("uniter.img_embeddings.conv.",),
)


def random_weights(config: AnyConfig, seed: int = 0) -> dict[str, np.ndarray]:
    """Make random weights of every parameter, rounded as a model folder stores them.

    Their standard deviation is 0.15, large enough that a test notices a wrong activation or layout.
    """
    rng = np.random.default_rng(seed)
    out = {}
    for name, shape in parameter_shapes(config).items():
        value = rng.normal(0, 0.15, shape)
        out[name] = rounded(name, (1 + value if name.endswith("gamma") else value).astype(np.float32), config)
    return out


def write_small_model(
    folder: Path, config: AnyConfig = SMALL_MINI, seed: int = 0, weights: dict[str, np.ndarray] | None = None
) -> Path:
    """Write a model folder with random weights, or with `weights`, and a word vocabulary."""
    write_model(folder, config, random_weights(config, seed) if weights is None else weights, vocabulary())
    return add_graphs(folder)


def add_graphs(folder: Path) -> Path:
    """Give a model folder the graphs of its config.

    MindSpore runs a model without them. So where that is set they aren't exported: a test may have changed the network's code.
    """
    if os.environ.get("PANOPTES_RUNTIME") == "mindspore":
        return folder
    config = read_any_config(folder)
    keep_graphs(config)
    assert copy_kept_graphs(folder, config)
    return folder


def parameter_shapes(config: AnyConfig) -> dict[str, tuple[int, ...]]:
    """List the parameters of a network with their shapes, in its order. Kept on disk, because few tests need MindSpore."""
    kept = kept_graphs(config).with_suffix(".json")
    if not kept.exists():
        from mindspore.nn.utils import no_init_parameters

        from encoder.network.entries import network_of

        with no_init_parameters():
            shapes = {name: parameter.shape for name, parameter in network_of(config).parameters_and_names()}
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=kept.parent, delete=False, encoding="utf-8") as file:
            json.dump(shapes, file)
        os.replace(file.name, kept)
    return {name: tuple(shape) for name, shape in json.loads(kept.read_text(encoding="utf-8")).items()}


def keep_graphs(config: AnyConfig) -> Path:
    """Give the cache folder of a config's graphs. They are exported if they aren't there, by one process at a time."""
    kept = kept_graphs(config)
    if is_whole(kept):
        return kept
    kept.parent.mkdir(parents=True, exist_ok=True)
    with open(kept.with_suffix(".lock"), "w") as lock, tempfile.TemporaryDirectory() as folder:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not is_whole(kept):
            from encoder.exporting.onnx_export import export_graphs

            (Path(folder) / CONFIG).write_text(config.to_json(), encoding="utf-8")
            export_graphs(Path(folder))
    return kept


def vocabulary() -> bytes:
    """Make a `tokenizer.json` of WORDS."""
    import tokenizers

    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordPiece({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = tokenizers.processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return tokenizer.to_str().encode()
