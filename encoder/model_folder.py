"""A model on disk: a folder with `weights.safetensors`, `config.json` and `tokenizer.json` (or `vocab.txt`).

`ranking.json` and the query bank may stand beside them. They say how scores are combined, and the fingerprint leaves them
out: no collection has to be encoded again when they change.
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

from encoder.captioner_config import CaptioningConfig
from encoder.config import RANKING, AnyConfig, ModelConfig, config_from_json
from encoder.errors import BadCheckpoint, CannotSearch, CannotWrite
from encoder.files import sha256_of
from encoder.quantization import dequantize, quantize

WEIGHTS, CONFIG, SCORES = "weights.safetensors", "config.json", "ranking.json"
SCALES = ":scales"
VOCABULARIES = ("tokenizer.json", "vocab.txt")
CAPTIONER = "captioner"
"""The folder below a model's where the captioner lies that reads its tokens: a model folder itself."""
SHIPPED = Path(__file__).parent / "weights" / "opt-mini"


def read_config(folder: Path) -> ModelConfig:
    """Read the config of a model that searches.

    Raises:
        CannotSearch: the model writes captions.
        BadCheckpoint: as `read_any_config` says.
    """
    config = read_any_config(folder)
    if isinstance(config, CaptioningConfig):
        raise CannotSearch(folder)
    return config


def read_captioner_config(folder: Path) -> CaptioningConfig:
    """Read the config of a model that writes captions.

    Raises:
        CannotWrite: the model searches.
        BadCheckpoint: as `read_any_config` says.
    """
    config = read_any_config(folder)
    if not isinstance(config, CaptioningConfig):
        raise CannotWrite(folder)
    return config


def read_any_config(folder: Path) -> AnyConfig:
    """Read the config of a model folder; fields in ranking.json replace those of config.json.

    Raises:
        BadCheckpoint: the config is absent, or a file is not what it should be.
    """
    try:
        config = config_from_json((folder / CONFIG).read_text(encoding="utf-8"))
    except OSError as error:
        raise BadCheckpoint(f"There is no model in {folder}: {CONFIG} cannot be read.") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise BadCheckpoint(f"{folder / CONFIG} is not a config of this version ({error}).") from error
    return _with_ranking(config, folder / SCORES) if (folder / SCORES).exists() else config


def _with_ranking(config: AnyConfig, path: Path) -> AnyConfig:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if not values.keys() <= set(RANKING):
            raise ValueError(f"it holds {', '.join(sorted(values.keys() - set(RANKING)))}")
        return config_from_json(json.dumps(dataclasses.asdict(config) | values))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise BadCheckpoint(f"{path} does not say how to rank ({error}); fetch the file again, or remove it.") from error


def write_ranking(folder: Path, **values: object) -> None:
    """Set fields of the config that say how scores are combined (`config.RANKING`) in a model folder."""
    path = folder / SCORES
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    path.write_text(json.dumps(known | values, sort_keys=True) + "\n", encoding="utf-8")


def vocabulary_path(folder: Path) -> Path:
    """The vocabulary file of a model folder.

    Raises:
        BadCheckpoint: there is none.
    """
    for name in VOCABULARIES:
        if (folder / name).is_file():
            return folder / name
    raise BadCheckpoint(f"There is no vocabulary in {folder}; it needs {' or '.join(VOCABULARIES)}.")


def read_weights(folder: Path, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
    """Read the parameters of a model folder by name.

    Args:
        names: the parameters to read (default: all).

    Returns:
        Arrays of float16 or float32, as they are stored; float32 for those that are stored in 8 bits.

    Raises:
        BadCheckpoint: a parameter is missing, or the file can't be read.
    """
    try:
        with safe_open(folder / WEIGHTS, "numpy") as file:
            available = set(file.keys())
            wanted = available if names is None else {*names, *(available & {name + SCALES for name in names})}
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
    """Read the shape of every parameter of a model folder. Only the file's header is read.

    Raises:
        BadCheckpoint: the file can't be read.
    """
    try:
        with safe_open(folder / WEIGHTS, "numpy") as file:
            return {
                name: tuple(file.get_slice(name).get_shape())
                for name in file.keys()  # noqa: SIM118 - not a dict
                if not name.endswith(SCALES)
            }
    except (OSError, SafetensorError) as error:
        raise BadCheckpoint(f"{folder / WEIGHTS} cannot be read ({error}); fetch the file again.") from error


def write_model(folder: Path, config: AnyConfig, weights: dict[str, np.ndarray], vocabulary: bytes) -> None:
    """Write a model folder.

    Matrices become float16 or, if their names are among the config's `int8_weights`, 8 bits; vectors and scalars float32.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stored = {}
    for name, value in sorted(weights.items()):
        stored |= _quantized(name, value) if _in_8_bits(name, value, config) else {name: _stored(value)}
    save_file(stored, folder / WEIGHTS)
    (folder / CONFIG).write_text(config.to_json() + "\n", encoding="utf-8")
    (folder / "tokenizer.json").write_bytes(vocabulary)


def fingerprint(folder: Path) -> str:
    """The fingerprint of a model folder: a hash of weights, config and vocabulary, as 16 hex digits.

    The config names the preprocessing, so that the hash covers it too.

    Raises:
        BadCheckpoint: a file can't be read.
    """
    digest = hashlib.sha256()
    for path in (folder / WEIGHTS, folder / CONFIG, vocabulary_path(folder)):
        digest.update(path.name.encode())
        try:
            digest.update(bytes.fromhex(sha256_of(path)))
        except OSError as error:
            raise BadCheckpoint(f"{path} cannot be read ({error.strerror}); fetch the file again.") from error
    return digest.hexdigest()[:16]


def check(expected: dict[str, tuple[int, ...]], weights: dict[str, np.ndarray], where: Path) -> None:
    """Check that weights have the expected names and shapes.

    Raises:
        BadCheckpoint: weights are missing, misshaped or left over.
    """
    problems = differences(expected, {name: weight.shape for name, weight in weights.items()})
    if problems:
        raise BadCheckpoint(f"The weights in {where} do not fit the network ({problems}).")


def differences(expected: dict[str, tuple[int, ...]], found: dict[str, tuple[int, ...]]) -> str:
    """Describe which names are missing, misshaped or left over; empty if there are none."""
    problems = {
        "missing": sorted(expected.keys() - found.keys()),
        "misshaped": sorted(name for name in expected.keys() & found.keys() if tuple(expected[name]) != tuple(found[name])),
        "left over": sorted(found.keys() - expected.keys()),
    }
    return "; ".join(f"{problem}: {first_names(names)}" for problem, names in problems.items() if names)


def first_names(names: list[str], count: int = 4) -> str:
    """Join the first names of a list, and say how many more there are."""
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(names[:count]) + more


def rounded(name: str, value: np.ndarray, config: AnyConfig) -> np.ndarray:
    """A weight as `read_weights` will give it if it is stored in 8 bits; else the weight itself."""
    return dequantize(*quantize(value)) if _in_8_bits(name, value, config) else value


def _in_8_bits(name: str, value: np.ndarray, config: AnyConfig) -> bool:
    return value.ndim > 1 and name.startswith(config.int8_weights)


def _quantized(name: str, value: np.ndarray) -> dict[str, np.ndarray]:
    codes, scales = quantize(value)
    return {name: codes, name + SCALES: scales}


def _stored(value: np.ndarray) -> np.ndarray:
    return np.array(value, np.float16 if value.ndim > 1 else np.float32, order="C")
