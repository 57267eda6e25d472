"""Exports the network, which is defined in MindSpore, to graphs that ONNX Runtime runs."""

from __future__ import annotations

from pathlib import Path

import mindspore as ms
import numpy as np
import onnx
import onnx_ir as ir
from mindspore import Parameter, Tensor
from mindspore.onnx import export

from encoder.captioner_config import CaptioningConfig
from encoder.config import AnyConfig, ModelConfig, OptConfig
from encoder.exporting.onnx_rewriting import finish, simplify, unite
from encoder.model_folder import WEIGHTS, read_any_config
from encoder.network.blocks import Attention
from encoder.network.entries import Entry, entries_of, network_of
from encoder.network.native_convolutions import NativeEfficientNet
from encoder.runtime.graph_files import FOLDER, copy_kept_graphs, kept_graphs, replace_folder, write_record
from encoder.single_stream_config import SingleStreamConfig

Axes = dict[str, tuple[str | int, ...]]
INTEGER_INPUTS = ("ids", "valid")
OUTPUTS = {
    "images": ("vectors", "tokens"),
    "texts": ("vectors", "states"),
    "match": ("logits",),
    "attention": ("weights",),
    "memory": ("memory",),
    "step": ("scores", "own"),
    "next_word": ("scores",),
}
Sizes = list[dict[str, int]]


def export_graphs(folder: Path, anew: bool = False) -> dict[str, int]:
    """Make the graphs of a model folder from its config. The weights are not read.

    Old graphs are replaced when all new ones are written. If an earlier export of the same config left its graphs in the
    cache (PANOPTES_CACHE), these are copied.

    Args:
        folder: the model folder.
        anew: export even if the cache has the graphs.

    Returns:
        The size of each graph in bytes, by entry.

    Raises:
        BadCheckpoint: the folder has no config.
        IncompatibleShapes: the network computes something else at another batch or length.
    """
    config = read_any_config(folder)
    if anew or not copy_kept_graphs(folder, config):
        kept = kept_graphs(config)
        try:
            kept.parent.mkdir(parents=True, exist_ok=True)
            replace_folder(kept, lambda made: _make_graphs(config, made))
        except OSError:  # the cache can't be written
            replace_folder(folder / FOLDER, lambda made: _make_graphs(config, made))
        else:
            copy_kept_graphs(folder, config)
    return {path.stem: path.stat().st_size for path in sorted((folder / FOLDER).glob("*.onnx"))}


def _make_graphs(config: AnyConfig, made: Path) -> None:
    """Export each entry at two sizes, and make one graph for any size of the two (see `onnx_rewriting`)."""
    ms.set_context(mode=ms.GRAPH_MODE)
    model = network_of(config).set_train(False)
    parameters = dict(model.parameters_and_names())
    for _, cell in model.cells_and_names():
        if isinstance(cell, Attention) and isinstance(config, ModelConfig):
            cell.fold = cell.cost_of_folding(config.text_length // 2, config.token_shape[0]) < 1
    if isinstance(config, OptConfig) and config.grid_stages and not config.regions:
        images = model.uniter.img_embeddings
        images.conv = NativeEfficientNet(images.conv)
    weights = {
        entry: _export(config, entry, cell(model).set_train(False), parameters, made)
        for entry, cell in entries_of(config).items()
    }
    write_record(made, config, ms.__version__, {name: p.shape for name, p in parameters.items()}, weights)


def _export(config: AnyConfig, entry: str, cell: Entry, parameters: dict[str, Parameter], folder: Path) -> list[str]:
    """Write ENTRY.onnx. Gives the names of the weights that it reads."""
    axes = axes_of(config, entry)
    sizes = _sizes(config)
    models = [simplify(_export_at(cell, axes, size, folder)) for size in sizes]
    model = unite(models, sizes, axes)
    outputs = OUTPUTS[entry][1:] if entry == "images" and not _has_vectors(config) else OUTPUTS[entry]
    names = {parameter.name: name for name, parameter in parameters.items()}
    finish(model, list(axes), outputs, names, f"../{WEIGHTS}")
    ir.save(model, folder / f"{entry}.onnx")
    return sorted(name for name, value in model.graph.initializers.items() if isinstance(value.const_value, ir.ExternalTensor))


def _has_vectors(config: AnyConfig) -> bool:
    return isinstance(config, ModelConfig) and config.dim > 0


def _sizes(config: AnyConfig) -> Sizes:
    """Give the sizes at which entries are exported. No product or sum of some is another."""
    if isinstance(config, CaptioningConfig):
        return [{"N": 2, "W": 3}, {"N": 3, "W": 5}]
    length, regions = config.text_length, config.token_shape[0]
    return [{"B": 2, "T": length - 1, "L": regions - 1}, {"B": 3, "T": length - 2, "L": regions - 4}]


def _captioner_axes(config: CaptioningConfig, entry: str) -> Axes:
    """Give the axes of the inputs of a captioner's entry: numbers, or N images and W captions of each."""
    captions = ("N", "W", config.caption_length)
    inputs: dict[str, Axes] = {
        "images": {"pixels": ("N", *_shape_of_images(config))},
        "memory": {"tokens": ("N", *config.token_shape)},
        "step": {"ids": ("N", "W"), "places": captions, "cache": ("N", "W", *config.cache_shape)},
        "next_word": {"ids": captions, "places": captions},
    }
    memory: Axes = {"memory": ("N", *config.memory_shape)}
    return inputs[entry] | (memory if entry in ("step", "next_word") else {})


def _shape_of_images(config: CaptioningConfig) -> tuple[int, ...]:
    return (3, config.image_size, config.image_size) if config.image_size else config.inputs.shape


def axes_of(config: AnyConfig, entry: str) -> Axes:
    """Give the axes of an entry's inputs, in order: numbers, or batch B, text length T and, of regions, image length L."""
    if isinstance(config, CaptioningConfig):
        return _captioner_axes(config, entry)
    length, width = config.token_shape
    tokens = ("B", "L" if config.regions else length, width if isinstance(config, SingleStreamConfig) else config.hidden_size)
    if entry == "images":
        side = config.image_size
        return {"pixels": ("B", "L", config.inputs.shape[1]) if config.regions else ("B", 3, side, side)}
    if entry == "texts":
        return {"ids": ("B", "T")}
    if isinstance(config, SingleStreamConfig):
        return {"ids": ("B", "T"), "valid": ("B", "T"), "tokens": tokens}
    return {"states": ("B", "T", config.hidden_size), "ids": ("B", "T"), "tokens": tokens}


def _export_at(cell: Entry, axes: Axes, size: dict[str, int], folder: Path) -> onnx.ModelProto:
    """Export an entry from MindSpore at one size. The parameters are inputs of the graph."""
    inputs = []
    for name, own in axes.items():
        shape = [axis if isinstance(axis, int) else size[axis] for axis in own]
        inputs.append(Tensor(np.ones(shape, np.int32 if name in INTEGER_INPUTS else np.float32)))
    file = folder / "exported.onnx"
    export(cell, *inputs, file_name=str(file), input_names=list(axes), export_params=False)
    try:
        return onnx.load(file)
    finally:
        file.unlink()
