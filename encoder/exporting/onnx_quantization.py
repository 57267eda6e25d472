"""Makes graphs with products in 8 bits from a model's float32 graphs, calibrated on photos and captions.

Never imports mindspore.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file

from encoder.exporting.onnx_rewriting import MICROSOFT
from encoder.model_folder import fingerprint, read_config, read_weights
from encoder.runtime.graph_files import FOLDER as GRAPHS
from encoder.runtime.graph_files import read_graphs, replace_folder, source_digest
from encoder.runtime.int8 import FOLDER, MODULES, RECORD, STEPS, Product, balanced_steps, file_name
from encoder.runtime.onnx_graphs import open_session

Feeds = Iterable[tuple[np.ndarray, ...]]
"""The inputs of each run of an entry."""

QuantizedGraph = tuple[onnx.ModelProto, list[str], list[Product]]
"""A graph, the names of the weights that stay in float32, and the products in 8 bits."""

ALPHA = 0.8
ONE, ZERO = "int8:one", "int8:zero"


def stays_float32(weight: str) -> bool:
    """True if the product with this weight would lose too much in 8 bits.

    That is so after the ViT's GELU, whose output has rare, very large numbers, and for the last layers.
    """
    return weight.endswith(("mlp.fc2.weight", "vision_proj.weight", "text_proj.weight")) or weight.startswith("itm_head_two.")


def write_int8_graphs(
    model: Path, feeds: Mapping[str, Feeds], keeps_float32: Callable[[str], bool] = lambda weight: False, alpha: float = ALPHA
) -> dict[str, int]:
    """Write the 8-bit graphs of a model folder beside its float32 graphs.

    Args:
        model: the model folder.
        feeds: the inputs of each entry to calibrate on.
        keeps_float32: True for the name of a weight whose product stays in float32.
        alpha: the share of the columns' differences that goes into the weights (see `int8.balanced_steps`).

    Returns:
        The number of products in 8 bits, by entry.

    Raises:
        BadGraphs: the float32 graphs don't fit the model.
    """
    files, weights = read_graphs(model, read_config(model)), read_weights(model)
    quantized: dict[str, QuantizedGraph] = {}
    steps: dict[str, np.ndarray] = {}
    for entry, inputs in feeds.items():
        proto = onnx.load(files.paths[entry], load_external_data=False)
        ranges = largest_inputs(proto, weights, inputs)
        quantized[entry] = (proto, *_quantize(proto, weights, ranges, keeps_float32, alpha, steps))
    replace_folder(model / GRAPHS / FOLDER, lambda folder: _write(folder, model, quantized, steps))
    return {entry: len(products) for entry, (_, _, products) in quantized.items()}


def _write(folder: Path, model: Path, quantized: dict[str, QuantizedGraph], steps: dict[str, np.ndarray]) -> None:
    record: dict[str, Any] = {"fingerprint": fingerprint(model), "source": source_digest(*MODULES), "graphs": {}}
    for entry, (proto, floats, products) in quantized.items():
        digests = {}
        for signed in (True, False):
            path = folder / file_name(entry, signed)
            path.write_bytes(_with_integer_type(proto, signed).SerializeToString())
            digests[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
        record["graphs"][entry] = {"sha256": digests, "weights": floats, "products": [vars(one) for one in products]}
    save_file(steps, folder / STEPS)
    (folder / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def products_of(proto: onnx.ModelProto, weights: dict[str, np.ndarray]) -> list[onnx.NodeProto]:
    """List the products of a graph with a weight on their right side."""
    return [node for node in proto.graph.node if node.op_type == "Gemm" and node.input[1] in weights]


def largest_inputs(proto: onnx.ModelProto, weights: dict[str, np.ndarray], feeds: Feeds) -> dict[str, np.ndarray]:
    """Find the largest absolute number of each column of each product's input, float32 [K], over all feeds."""
    watched = onnx.ModelProto()
    watched.CopyFrom(proto)
    names = list(dict.fromkeys(node.input[0] for node in products_of(proto, weights)))
    watched.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    external = {one.name: np.asarray(weights[one.name], np.float32) for one in proto.graph.initializer if one.data_location}
    session = open_session(watched.SerializeToString(), external)
    largest: dict[str, np.ndarray] = {}
    for feed in feeds:
        named = dict(zip((one.name for one in proto.graph.input), feed, strict=True))
        for name, value in zip(names, cast("list[np.ndarray]", session.run(names, named)), strict=True):
            found = np.abs(value).reshape(-1, value.shape[-1]).max(0)
            largest[name] = np.maximum(largest.get(name, 0), found)
    return largest


def _quantize(
    proto: onnx.ModelProto,
    weights: dict[str, np.ndarray],
    ranges: dict[str, np.ndarray],
    keeps_float32: Callable[[str], bool],
    alpha: float,
    steps: dict[str, np.ndarray],
) -> tuple[list[str], list[Product]]:
    """Replace the float32 products of a graph by 8-bit ones, and add their steps to `steps`.

    Returns:
        The names of the weights that stay in float32, and the products in 8 bits.
    """
    chosen = [node for node in products_of(proto, weights) if not keeps_float32(node.input[1])]
    readers = defaultdict(list)
    for node in chosen:
        readers[node.input[0]].append(node)
    for name, nodes in readers.items():
        columns = np.max([np.abs(_matrix(node, weights)).max(1) for node in nodes], 0)
        shared = balanced_steps(ranges[name], columns, alpha)
        steps |= {node.input[1]: shared for node in nodes}
    products = [_product(node, leader=readers[node.input[0]][0]) for node in chosen]
    replaced = {node.output[0]: _quantized_nodes(node, product) for node, product in zip(chosen, products, strict=True)}
    nodes = [quantized for node in proto.graph.node for quantized in replaced.get(node.output[0], [node])]
    _replace_nodes(proto.graph, nodes, products, {name: weights[name].shape for name in steps})
    return [one.name for one in proto.graph.initializer if one.data_location and one.name in weights], products


def _product(node: onnx.NodeProto, leader: onnx.NodeProto) -> Product:
    bias = node.input[2] if len(node.input) > 2 else None
    return Product(node.input[1], bias, _is_transposed(node), leader.input[1])


def _matrix(node: onnx.NodeProto, weights: dict[str, np.ndarray]) -> np.ndarray:
    """Give the weight of a product as [K, N]."""
    weight = np.asarray(weights[node.input[1]], np.float32)
    return weight.T if _is_transposed(node) else weight


def _is_transposed(node: onnx.NodeProto) -> bool:
    return any(one.name == "transB" and one.i for one in node.attribute)


def _quantized_nodes(node: onnx.NodeProto, product: Product) -> list[onnx.NodeProto]:
    """Make the nodes that replace a float32 product. An input that several products read is rounded once."""
    name, rounded = product.weight, f"{product.leader}:rounded"
    quantized = []
    if product.leader == name:
        quantized = [
            helper.make_node("Mul", [node.input[0], f"{name}:inverse"], [f"{name}:scaled"]),
            helper.make_node("QuantizeLinear", [f"{name}:scaled", ONE, ZERO], [rounded]),
        ]
    inputs = [rounded, ONE, ZERO, f"{name}:codes", f"{name}:scales", f"{name}:zero"]
    inputs += [f"{name}:bias"] if product.bias else []
    return [*quantized, helper.make_node("QGemm", inputs, list(node.output), domain=MICROSOFT, transB=0, alpha=1.0)]


def _replace_nodes(
    graph: onnx.GraphProto, nodes: list[onnx.NodeProto], products: list[Product], shapes: dict[str, tuple[int, ...]]
) -> None:
    """Replace a graph's nodes and initializers. The values of the products' initializers are external."""
    read = {name for node in nodes for name in node.input}
    kept = [one for one in graph.initializer if one.name in read]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept)
    graph.initializer.extend(
        [numpy_helper.from_array(np.array(1, np.float32), ONE), numpy_helper.from_array(np.array(128, np.uint8), ZERO)]
    )
    for product in products:
        rows, columns = shapes[product.weight] if not product.turned else shapes[product.weight][::-1]
        kinds = {
            "codes": (TensorProto.INT8, (rows, columns)),
            "zero": (TensorProto.INT8, (columns,)),
            "scales": (TensorProto.FLOAT, (columns,)),
            "bias": (TensorProto.INT32, (columns,)),
            "inverse": (TensorProto.FLOAT, (rows,)),
        }
        graph.initializer.extend(
            _external(f"{product.weight}:{kind}", *one) for kind, one in kinds.items() if f"{product.weight}:{kind}" in read
        )


def _with_integer_type(proto: onnx.ModelProto, signed: bool) -> onnx.ModelProto:
    """Copy a graph, with weights that are int8 if `signed`, else uint8."""
    quantized = onnx.ModelProto()
    quantized.CopyFrom(proto)
    for one in quantized.graph.initializer:
        if one.data_type == TensorProto.INT8:
            one.data_type = TensorProto.INT8 if signed else TensorProto.UINT8
    return quantized


def _external(name: str, kind: int, shape: tuple[int, ...]) -> onnx.TensorProto:
    value = TensorProto(name=name, data_type=kind, dims=shape, data_location=TensorProto.EXTERNAL)
    value.external_data.add(key="location", value="computed from the weights on loading")
    return value
