"""Small OPT models with seeded random weights, for tests that need a network but not a trained one."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from pathlib import Path

import numpy as np

from encoder.checkpoint import CONFIG, rounded, write_model
from encoder.config import PRESETS, OptConfig
from encoder.graph_files import RECORD, copy_kept_graphs, is_whole, kept_graphs
from encoder.joint_config import JointConfig

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "dog", "cat", "on", "the", "beach", "red", "car", "狗", "猫", "红", "色"]
SMALL = dict(hidden_size=32, dim=16, vocab_size=len(WORDS), text_layers=2, text_heads=2, text_intermediate=64,
             text_length=32, max_positions=32, fusion_layers=2, fusion_intermediate=64, itm_hidden=64,
             image_layers=2, image_heads=2, image_intermediate=64)

SMALL_V2 = dataclasses.replace(PRESETS["opt-v2-base"], **SMALL, image_size=32, patch_size=16, published_extras=False)
SMALL_MINI = dataclasses.replace(
    PRESETS["opt-mini"], **SMALL, image_size=56, patch_size=14, grid_features=24,
    grid_stages=((1, 3, 2, 8, 8, 1), (2, 3, 2, 8, 12, 2), (2, 5, 2, 12, 16, 1), (2, 3, 2, 16, 16, 1)),
    int8_weights=("uniter.img_embeddings.conv.",))


def random_weights(config: OptConfig, seed: int = 0) -> dict[str, np.ndarray]:
    """Seeded weights of every parameter; std 0.15 so that a wrong activation or layout shows; 8 bits where stored so."""
    rng = np.random.default_rng(seed)
    out = {}
    for name, shape in parameter_shapes(config).items():
        value = rng.normal(0, 0.15, shape)
        out[name] = rounded(name, (1 + value if name.endswith("gamma") else value).astype(np.float32), config)
    return out


def write_small_model(folder: Path, config: OptConfig = SMALL_MINI, seed: int = 0) -> Path:
    """A model folder with random weights and a word vocabulary."""
    write_model(folder, config, random_weights(config, seed), vocabulary())
    assert copy_kept_graphs(folder, config)
    return folder


def parameter_shapes(config: OptConfig | JointConfig) -> dict[str, tuple[int, ...]]:
    """Of every parameter of a network, in the order in which the network has them; its graphs are exported once and kept."""
    kept = kept_graphs(config)
    if not is_whole(kept):
        from encoder.onnx_export import export_graphs

        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / CONFIG).write_text(config.to_json(), encoding="utf-8")
            export_graphs(Path(folder))
    parameters = json.loads((kept / RECORD).read_text(encoding="utf-8"))["parameters"]
    return {name: tuple(shape) for name, shape in parameters.items()}


def vocabulary() -> bytes:
    """A `tokenizer.json` of WORDS."""
    import tokenizers

    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordPiece({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = tokenizers.processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return tokenizer.to_str().encode()
