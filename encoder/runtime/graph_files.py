"""Exported graphs in a model folder: `graphs/images.onnx` and so on, without weights, and `graphs/graphs.json`, which says what
they were made of. Never imports mindspore.
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

from encoder.config import RANKING, OptConfig
from encoder.errors import BadGraphs
from encoder.model_folder import WEIGHTS, differences, weight_shapes
from encoder.runtime.source_digest import code_digest
from encoder.single_stream_config import SingleStreamConfig

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


@dataclass(frozen=True)
class GraphFiles:
    """The exported graphs of a model folder.

    Attributes:
        paths: the file of each entry: images, texts, match, attention, as far as the network has them.
        weights: the names of the weights that each entry reads.
    """

    paths: dict[str, Path]
    weights: dict[str, list[str]]


def source_digest(*more: str) -> str:
    """A digest of the code that decides what a graph computes, and of `more` modules of this package."""
    return code_digest([ENCODER / f"{name}.py" for name in (*NETWORK, *more)])


def config_digest(config: OptConfig | SingleStreamConfig) -> str:
    """A digest of what a graph depends on in a config: all but how scores are combined."""
    values = {name: value for name, value in dataclasses.asdict(config).items() if name not in RANKING}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def cache_root() -> Path:
    """Where exported and compiled graphs are kept: PANOPTES_CACHE, or ~/.cache/panoptes."""
    return Path(os.environ.get("PANOPTES_CACHE") or Path.home() / ".cache" / "panoptes")


def kept_graphs(config: OptConfig | SingleStreamConfig) -> Path:
    """Where graphs of such a config are kept once they were exported: under PANOPTES_CACHE, or ~/.cache/panoptes."""
    return cache_root() / FOLDER / f"{config_digest(config)}-{source_digest()[:16]}"


def is_whole(folder: Path) -> bool:
    """Whether a folder of graphs is there and each file is what its record says."""
    try:
        graphs = json.loads((folder / RECORD).read_text(encoding="utf-8"))["graphs"]
        return all(_sha256(folder / f"{entry}.onnx") == one["sha256"] for entry, one in graphs.items())
    except (OSError, ValueError, KeyError, TypeError):
        return False


def copy_kept_graphs(model: Path, config: OptConfig | SingleStreamConfig) -> bool:
    """Give a model folder the graphs that are kept for its config, in the place of its own; False where there are none."""
    kept = kept_graphs(config)
    if not is_whole(kept):
        return False
    replace_folder(model / FOLDER, lambda made: _copy(kept, model / FOLDER / INT8, made))
    return True


def _copy(kept: Path, int8: Path, made: Path) -> None:
    """Copy kept graphs, and the model's own 8-bit graphs, which are checked when they are opened."""
    shutil.copytree(kept, made, dirs_exist_ok=True)
    if int8.is_dir():
        shutil.copytree(int8, made / INT8)


def replace_folder(folder: Path, make: Callable[[Path], object]) -> None:
    """Put what `make` writes into an empty folder in the place of a folder, when it is whole."""
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
    config: OptConfig | SingleStreamConfig,
    mindspore: str,
    parameters: dict[str, tuple[int, ...]],
    weights: dict[str, list[str]],
) -> None:
    """Write `graphs.json` beside graphs that were just exported.

    Args:
        folder: the folder of the graphs.
        mindspore: the version that exported them.
        parameters: the name and shape of every parameter of the network.
        weights: the names of the weights that each entry reads.
    """
    record = {
        "format": FORMAT,
        "opset": OPSET,
        "mindspore": mindspore,
        "source": source_digest(),
        "config": config_digest(config),
        "parameters": {name: list(shape) for name, shape in parameters.items()},
        "graphs": {entry: {"sha256": _sha256(folder / f"{entry}.onnx"), "weights": names} for entry, names in weights.items()},
    }
    (folder / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def read_graphs(model: Path, config: OptConfig | SingleStreamConfig) -> GraphFiles:
    """The graphs of a model folder, checked against its config, its weights and the network's code.

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
    if record["source"] != source_digest():
        raise BadGraphs(model, "the network's code has changed since")
    if record["config"] != config_digest(config):
        raise BadGraphs(model, "they were made of another config.json")
    parameters, digests, weights = _listed(model, record)
    _check_weights(model, parameters)
    paths = {entry: folder / f"{entry}.onnx" for entry in digests}
    for entry, path in paths.items():
        _check_file(model, path, digests[entry])
    return GraphFiles(paths, weights)


def _record(model: Path, path: Path) -> dict:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if not {"format", "opset", "source", "config", "parameters", "graphs"} <= record.keys():
            raise ValueError("entries are missing")
    except FileNotFoundError as error:
        raise BadGraphs(model, "there are none") from error
    except (OSError, ValueError, AttributeError) as error:
        raise BadGraphs(model, f"{RECORD} can't be read ({error})") from error
    return record


def _listed(model: Path, record: dict) -> tuple[dict[str, tuple[int, ...]], dict[str, str], dict[str, list[str]]]:
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
    said = differences(expected, weight_shapes(model))
    if said:
        raise BadGraphs(model, f"they are of other weights than {WEIGHTS} holds ({said})")


def _check_file(model: Path, path: Path, expected: str) -> None:
    try:
        if _sha256(path) == expected:
            return
    except OSError as error:
        raise BadGraphs(model, f"{path.name} can't be read ({error.strerror})") from error
    raise BadGraphs(model, f"{path.name} is damaged, or of another export")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
