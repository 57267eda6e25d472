"""A model on disk: `weights.safetensors`, `config.json`, `tokenizer.json` (or `vocab.txt`) in one folder.

`ranking.json` and the query bank may stand beside them: they say how scores are combined and leave the fingerprint as it is,
so that no collection has to be encoded again for them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from encoder.config import RANKING, OptConfig, config_from_json
from encoder.errors import BadCheckpoint
from encoder.quantization import dequantize, quantize
from encoder.single_stream_config import SingleStreamConfig

WEIGHTS, CONFIG, SCORES = "weights.safetensors", "config.json", "ranking.json"
SCALES = ":scales"
VOCABULARIES = ("tokenizer.json", "vocab.txt")
SHIPPED = Path(__file__).parent / "weights" / "opt-mini"


def read_config(folder: Path) -> OptConfig | SingleStreamConfig:
    """The config of a model folder, with what ranking.json says; raises BadCheckpoint where it is absent or not a config."""
    try:
        config = config_from_json((folder / CONFIG).read_text(encoding="utf-8"))
    except OSError as error:
        raise BadCheckpoint(f"There is no model in {folder}: {CONFIG} cannot be read.") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise BadCheckpoint(f"{folder / CONFIG} is not a config of this version ({error}).") from error
    return _with_ranking(config, folder / SCORES) if (folder / SCORES).exists() else config


def _with_ranking(config: OptConfig | SingleStreamConfig, path: Path) -> OptConfig | SingleStreamConfig:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if not values.keys() <= set(RANKING):
            raise ValueError(f"it holds {', '.join(sorted(values.keys() - set(RANKING)))}")
        return config_from_json(json.dumps(dataclasses.asdict(config) | values))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise BadCheckpoint(f"{path} does not say how to rank ({error}); fetch the file again, or remove it.") from error


def write_ranking(folder: Path, **values) -> None:
    """Set fields of the config that only say how scores are combined (`config.RANKING`) in a model folder."""
    path = folder / SCORES
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    path.write_text(json.dumps(known | values, sort_keys=True) + "\n", encoding="utf-8")


def vocabulary_path(folder: Path) -> Path:
    """The vocabulary of a model folder."""
    for name in VOCABULARIES:
        if (folder / name).is_file():
            return folder / name
    raise BadCheckpoint(f"There is no vocabulary in {folder}; it needs {' or '.join(VOCABULARIES)}.")


def read_weights(folder: Path, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
    """Parameter name -> array: float16 matrices, float32 vectors, and float32 for what is stored in 8 bits.

    Reads all of them, or those of `names`. Raises BadCheckpoint where one is missing or the file can't be read.
    """
    try:
        with safe_open(folder / WEIGHTS, "numpy") as file:
            there = set(file.keys())
            wanted = there if names is None else {*names, *(there & {name + SCALES for name in names})}
            stored = {name: file.get_tensor(name) for name in wanted}
    except (OSError, SafetensorError) as error:
        raise BadCheckpoint(f"{folder / WEIGHTS} cannot be read ({error}); fetch the file again.") from error
    scales = {name: stored.pop(name) for name in [*stored] if name.endswith(SCALES)}
    try:
        for name, value in scales.items():  # one by one, so that the codes of all are not in memory beside the floats
            stored[name.removesuffix(SCALES)] = dequantize(stored[name.removesuffix(SCALES)], value)
        return stored
    except (KeyError, ValueError) as error:
        raise BadCheckpoint(f"{folder / WEIGHTS} has scales that fit no weights; fetch the file again.") from error


def weight_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """The shape of every parameter of a model folder; only the file's header is read. Raises BadCheckpoint."""
    try:
        with safe_open(folder / WEIGHTS, "numpy") as file:
            return {
                name: tuple(file.get_slice(name).get_shape())
                for name in file.keys()  # noqa: SIM118 - not a dict
                if not name.endswith(SCALES)
            }
    except (OSError, SafetensorError) as error:
        raise BadCheckpoint(f"{folder / WEIGHTS} cannot be read ({error}); fetch the file again.") from error


def write_model(
    folder: Path, config: OptConfig | SingleStreamConfig, weights: dict[str, np.ndarray], vocabulary: bytes
) -> None:
    """Write a model folder: matrices as float16 or, where the config says so, in 8 bits; vectors and scalars as float32."""
    folder.mkdir(parents=True, exist_ok=True)
    stored = {}
    for name, value in sorted(weights.items()):
        stored |= _packed(name, value) if _in_8_bits(name, value, config) else {name: _stored(value)}
    save_file(stored, folder / WEIGHTS)
    (folder / CONFIG).write_text(config.to_json() + "\n", encoding="utf-8")
    (folder / "tokenizer.json").write_bytes(vocabulary)


def fingerprint(folder: Path) -> str:
    """16 hex digits over weights, config (which names the preprocessing) and vocabulary."""
    digest = hashlib.sha256()
    for path in (folder / WEIGHTS, folder / CONFIG, vocabulary_path(folder)):
        digest.update(path.name.encode())
        try:
            with path.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
        except OSError as error:
            raise BadCheckpoint(f"{path} cannot be read ({error.strerror}); fetch the file again.") from error
    return digest.hexdigest()[:16]


def check(expected: dict[str, tuple[int, ...]], weights: dict[str, np.ndarray], where: Path) -> None:
    """Raise BadCheckpoint naming what is missing, misshaped or left over."""
    said = differences(expected, {name: weight.shape for name, weight in weights.items()})
    if said:
        raise BadCheckpoint(f"The weights in {where} do not fit the network ({said}).")


def differences(expected: dict[str, tuple[int, ...]], found: dict[str, tuple[int, ...]]) -> str:
    """What is missing, misshaped or left over among shapes by name, in words; empty where they are the same."""
    problems = {
        "missing": sorted(expected.keys() - found.keys()),
        "misshaped": sorted(name for name in expected.keys() & found.keys() if tuple(expected[name]) != tuple(found[name])),
        "left over": sorted(found.keys() - expected.keys()),
    }
    return "; ".join(f"{problem}: {first_names(names)}" for problem, names in problems.items() if names)


def first_names(names: list[str], count: int = 4) -> str:
    """The first names of a list, and how many more there are."""
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(names[:count]) + more


def rounded(name: str, value: np.ndarray, config: OptConfig) -> np.ndarray:
    """A weight as it will come back from the disk where it is stored in 8 bits, and as it is where not."""
    return dequantize(*quantize(value)) if _in_8_bits(name, value, config) else value


def _in_8_bits(name: str, value: np.ndarray, config: OptConfig) -> bool:
    return value.ndim > 1 and name.startswith(config.int8_weights)


def _packed(name: str, value: np.ndarray) -> dict[str, np.ndarray]:
    codes, scales = quantize(value)
    return {name: codes, name + SCALES: scales}


def _stored(value: np.ndarray) -> np.ndarray:
    return np.array(value, np.float16 if value.ndim > 1 else np.float32, order="C")
