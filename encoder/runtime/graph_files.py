"""The exported graphs of a model folder. Never imports mindspore.

`graphs/images.onnx` and so on hold the graphs without weights; `graphs/graphs.json` records what they were made of.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from encoder.captioner_config import SEARCHING, CaptioningConfig
from encoder.config import RANKING, AnyConfig
from encoder.errors import BadGraphs
from encoder.files import sha256_of
from encoder.model_folder import WEIGHTS, differences, weight_shapes
from encoder.runtime.source_digest import code_digest

FOLDER, RECORD, INT8 = "graphs", "graphs.json", "int8"
FORMAT, OPSET = 1, 18
ENCODER = Path(__file__).parents[1]
NETWORK = (
    "exporting/onnx_export",
    "exporting/onnx_rewriting",
    "network/blocks",
    "network/convolutions",
    "network/entries",
    "network/native_convolutions",
    "network/opt",
    "network/region_stream",
    "network/single_stream",
)
"""The modules, below `encoder/`, that decide what a graph computes."""

CAPTIONER_NETWORK = ("network/captioner", "network/text_output")
"""Those that also decide what a captioner's graph computes: no change of them touches the graphs of other models."""


@dataclass(frozen=True)
class GraphFiles:
    """The exported graphs of a model folder.

    Attributes:
        paths: the file of each entry that the network has (see encoder/network/entries.py).
        weights: the names of the weights that each entry reads.
    """

    paths: dict[str, Path]
    weights: dict[str, list[str]]


def source_digest(*more: str) -> str:
    """A digest of the code that decides what a graph computes, and of `more` modules below `encoder/`."""
    return code_digest([ENCODER / f"{name}.py" for name in (*NETWORK, *more)])


def _source_of(config: AnyConfig) -> str:
    return source_digest(*(CAPTIONER_NETWORK if isinstance(config, CaptioningConfig) else ()))


def config_digest(config: AnyConfig) -> str:
    """A digest of the fields of a config on which graphs depend: all but those that combine scores, or guide a search."""
    left_out = SEARCHING if isinstance(config, CaptioningConfig) else RANKING
    values = {name: value for name, value in dataclasses.asdict(config).items() if name not in left_out}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def cache_root() -> Path:
    """The folder of exported and compiled graphs: PANOPTES_CACHE, or ~/.cache/panoptes."""
    return Path(os.environ.get("PANOPTES_CACHE") or Path.home() / ".cache" / "panoptes")


def kept_graphs(config: AnyConfig) -> Path:
    """The folder in the cache where exported graphs of a config are kept; it need not exist."""
    return cache_root() / FOLDER / f"{config_digest(config)}-{_source_of(config)[:16]}"


def is_whole(folder: Path) -> bool:
    """True if a folder of graphs exists and each file is as its record says."""
    try:
        graphs = json.loads((folder / RECORD).read_text(encoding="utf-8"))["graphs"]
        return all(sha256_of(folder / f"{entry}.onnx") == one["sha256"] for entry, one in graphs.items())
    except (OSError, ValueError, KeyError, TypeError):
        return False


def copy_kept_graphs(model: Path, config: AnyConfig) -> bool:
    """Replace the graphs of a model folder by those that are kept for its config; False if none are kept."""
    kept = kept_graphs(config)
    if not is_whole(kept):
        return False
    replace_folder(model / FOLDER, lambda made: _copy(kept, model / FOLDER / INT8, made))
    return True


def _copy(kept: Path, int8: Path, made: Path) -> None:
    """Copy kept graphs, and the model's own 8-bit graphs: these are checked when they are opened."""
    shutil.copytree(kept, made, dirs_exist_ok=True)
    if int8.is_dir():
        shutil.copytree(int8, made / INT8)


def replace_folder(folder: Path, make: Callable[[Path], object]) -> None:
    """Replace a folder by what `make` writes into an empty one, after `make` has ended."""
    with tempfile.TemporaryDirectory(prefix=".graphs-", dir=folder.parent) as name:
        made, old = Path(name) / "new", Path(name) / "old"
        made.mkdir()
        make(made)
        if folder.exists():
            os.rename(folder, old)
        try:
            os.rename(made, folder)
        except OSError:
            if folder.exists():  # another process was quicker
                return
            os.rename(old, folder)
            raise


def write_record(
    folder: Path,
    config: AnyConfig,
    mindspore: str,
    parameters: dict[str, tuple[int, ...]],
    weights: dict[str, list[str]],
) -> None:
    """Write `graphs.json` beside graphs that were just exported.

    Args:
        folder: the folder of the graphs.
        config: of the model.
        mindspore: the version that exported the graphs.
        parameters: the name and shape of every parameter of the network.
        weights: the names of the weights that each entry reads.
    """
    record = {
        "format": FORMAT,
        "opset": OPSET,
        "mindspore": mindspore,
        "source": _source_of(config),
        "config": config_digest(config),
        "parameters": {name: list(shape) for name, shape in parameters.items()},
        "graphs": {
            entry: {"sha256": sha256_of(folder / f"{entry}.onnx"), "weights": names} for entry, names in weights.items()
        },
    }
    (folder / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def read_graphs(model: Path, config: AnyConfig) -> GraphFiles:
    """Read the graphs of a model folder, and check that they fit its config, its weights and the network's code.

    Raises:
        BadGraphs: there are none, or they are damaged, or made of another network, another config or other weights.
        BadCheckpoint: the weights can't be read.
    """
    folder = model / FOLDER
    record = _record(model, folder / RECORD)
    if record["format"] != FORMAT or record["opset"] != OPSET:
        raise BadGraphs(
            model, f"they are of format {record['format']}, opset {record['opset']}, and this version reads {FORMAT}, {OPSET}"
        )
    if record["source"] != _source_of(config):
        raise BadGraphs(model, "the network's code has changed since")
    if record["config"] != config_digest(config):
        raise BadGraphs(model, "they were made of another config.json")
    parameters, digests, weights = _contents(model, record)
    _check_weights(model, parameters)
    paths = {entry: folder / f"{entry}.onnx" for entry in digests}
    for entry, path in paths.items():
        _check_file(model, path, digests[entry])
    return GraphFiles(paths, weights)


def _record(model: Path, path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if not {"format", "opset", "source", "config", "parameters", "graphs"} <= record.keys():
            raise ValueError("entries are missing")
    except FileNotFoundError as error:
        raise BadGraphs(model, "there are none") from error
    except (OSError, ValueError, AttributeError) as error:
        raise BadGraphs(model, f"{RECORD} can't be read ({error})") from error
    return record


def _contents(model: Path, record: dict[str, Any]) -> tuple[dict[str, tuple[int, ...]], dict[str, str], dict[str, list[str]]]:
    """The shape of each parameter, the digest of each graph's file, and the names of the weights that each graph reads."""
    try:
        graphs = record["graphs"].items()
        return (
            {name: tuple(shape) for name, shape in record["parameters"].items()},
            {entry: one["sha256"] for entry, one in graphs},
            {entry: list(one["weights"]) for entry, one in graphs},
        )
    except (AttributeError, KeyError, TypeError) as error:
        raise BadGraphs(model, f"{RECORD} can't be read ({error})") from error


def _check_weights(model: Path, expected: dict[str, tuple[int, ...]]) -> None:
    problems = differences(expected, weight_shapes(model))
    if problems:
        raise BadGraphs(model, f"they are of other weights than {WEIGHTS} holds ({problems})")


def _check_file(model: Path, path: Path, expected: str) -> None:
    try:
        if sha256_of(path) == expected:
            return
    except OSError as error:
        raise BadGraphs(model, f"{path.name} can't be read ({error.strerror})") from error
    raise BadGraphs(model, f"{path.name} is damaged, or of another export")
