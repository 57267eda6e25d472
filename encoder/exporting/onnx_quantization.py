"""From a model's float32 graphs to graphs with products in 8 bits, calibrated on photos and captions.

Never imports mindspore.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

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
ALPHA = 0.8
ONE, ZERO = "int8:one", "int8:zero"


def stays_float32(weight: str) -> bool:
    """Whether the product with a weight loses too much in 8 bits: what comes out of a GELU of the image's ViT has rare, huge
    numbers."""
    return weight.endswith(("mlp.fc2.weight", "vision_proj.weight", "text_proj.weight")) or weight.startswith("itm_head_two.")


def write_int8_graphs(
    model: Path, feeds: dict[str, Feeds], left_out: Callable[[str], bool] = lambda weight: False, alpha: float = ALPHA
) -> dict[str, int]:
    """Write the 8-bit graphs of a model folder beside its float32 graphs; gives how many products of each entry are in 8 bits.

    Args:
        feeds: of each entry the arrays that it is run on, to learn how large its activations become.
        left_out: whether the product with a weight stays float32.
        alpha: how much of the columns' differences goes into the weights (see `int8.balanced_steps`).

    Raises BadGraphs where the float32 graphs don't fit the model.
    """
    files, weights = read_graphs(model, read_config(model)), read_weights(model)
    made, steps = {}, {}
    for entry, given in feeds.items():
        proto = onnx.load(files.paths[entry], load_external_data=False)
        ranges = largest_inputs(proto, weights, given)
        made[entry] = (proto, *_quantized(proto, weights, ranges, left_out, alpha, steps))
    replace_folder(model / GRAPHS / FOLDER, lambda folder: _write(folder, model, made, steps))
    return {entry: len(products) for entry, (_, _, products) in made.items()}


def _write(folder: Path, model: Path, made: dict[str, tuple], steps: dict[str, np.ndarray]) -> None:
    record = {"fingerprint": fingerprint(model), "source": source_digest(*MODULES), "graphs": {}}
    for entry, (proto, floats, products) in made.items():
        digests = {}
        for signed in (True, False):
            path = folder / file_name(entry, signed)
            path.write_bytes(_with_codes(proto, signed).SerializeToString())
            digests[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
        record["graphs"][entry] = {"sha256": digests, "weights": floats, "products": [vars(one) for one in products]}
    save_file(steps, folder / STEPS)
    (folder / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def products_of(proto: onnx.ModelProto, weights: dict[str, np.ndarray]) -> list[onnx.NodeProto]:
    """The products of a graph whose right side is a weight."""
    return [node for node in proto.graph.node if node.op_type == "Gemm" and node.input[1] in weights]


def largest_inputs(proto: onnx.ModelProto, weights: dict[str, np.ndarray], feeds: Feeds) -> dict[str, np.ndarray]:
    """The largest absolute number in each column of each product's input, float32 [K], over all feeds."""
    watched = onnx.ModelProto()
    watched.CopyFrom(proto)
    names = list(dict.fromkeys(node.input[0] for node in products_of(proto, weights)))
    watched.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    external = {one.name: np.asarray(weights[one.name], np.float32) for one in proto.graph.initializer if one.data_location}
    session = open_session(watched.SerializeToString(), external)
    largest: dict[str, np.ndarray] = {}
    for feed in feeds:
        named = dict(zip((one.name for one in proto.graph.input), feed, strict=True))
        for name, value in zip(names, session.run(names, named), strict=True):
            found = np.abs(value).reshape(-1, value.shape[-1]).max(0)
            largest[name] = np.maximum(largest.get(name, 0), found)
    return largest


def _quantized(
    proto: onnx.ModelProto,
    weights: dict[str, np.ndarray],
    ranges: dict[str, np.ndarray],
    left_out: Callable[[str], bool],
    alpha: float,
    steps: dict[str, np.ndarray],
) -> tuple[list[str], list[Product]]:
    """Put 8-bit products into a graph in the place of float32 ones; the weights that stay, and the products."""
    chosen = [node for node in products_of(proto, weights) if not left_out(node.input[1])]
    readers = defaultdict(list)
    for node in chosen:
        readers[node.input[0]].append(node)
    for name, nodes in readers.items():
        columns = np.max([np.abs(_matrix(node, weights)).max(1) for node in nodes], 0)
        shared = balanced_steps(ranges[name], columns, alpha)
        steps |= {node.input[1]: shared for node in nodes}
    products = [
        Product(
            node.input[1], node.input[2] if len(node.input) > 2 else None, _is_turned(node), readers[node.input[0]][0].input[1]
        )
        for node in chosen
    ]
    replaced = {node.output[0]: _nodes(node, product) for node, product in zip(chosen, products, strict=True)}
    nodes = [made for node in proto.graph.node for made in replaced.get(node.output[0], [node])]
    _replace_nodes(proto.graph, nodes, products, {name: weights[name].shape for name in steps})
    return [one.name for one in proto.graph.initializer if one.data_location and one.name in weights], products


def _matrix(node: onnx.NodeProto, weights: dict[str, np.ndarray]) -> np.ndarray:
    """The weight of a product as [K, N]."""
    weight = np.asarray(weights[node.input[1]], np.float32)
    return weight.T if _is_turned(node) else weight


def _is_turned(node: onnx.NodeProto) -> bool:
    return any(one.name == "transB" and one.i for one in node.attribute)


def _nodes(node: onnx.NodeProto, product: Product) -> list[onnx.NodeProto]:
    """The nodes in the place of a float32 product; its input is rounded once for all that read it."""
    name, rounded = product.weight, f"{product.leader}:rounded"
    made = []
    if product.leader == name:
        made = [
            helper.make_node("Mul", [node.input[0], f"{name}:inverse"], [f"{name}:scaled"]),
            helper.make_node("QuantizeLinear", [f"{name}:scaled", ONE, ZERO], [rounded]),
        ]
    inputs = [rounded, ONE, ZERO, f"{name}:codes", f"{name}:scales", f"{name}:zero"]
    inputs += [f"{name}:bias"] if product.bias else []
    return [*made, helper.make_node("QGemm", inputs, list(node.output), domain=MICROSOFT, transB=0, alpha=1.0)]


def _replace_nodes(
    graph: onnx.GraphProto, nodes: list[onnx.NodeProto], products: list[Product], shapes: dict[str, tuple[int, ...]]
) -> None:
    """Give a graph other nodes, and the initializers that they read; those of the products have their values elsewhere."""
    read = {name for node in nodes for name in node.input}
    kept = [one for one in graph.initializer if one.name in read]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept)
    graph.initializer.extend([numpy_helper.from_array(np.float32(1), ONE), numpy_helper.from_array(np.uint8(128), ZERO)])
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
            _elsewhere(f"{product.weight}:{kind}", *one) for kind, one in kinds.items() if f"{product.weight}:{kind}" in read
        )


def _with_codes(proto: onnx.ModelProto, signed: bool) -> onnx.ModelProto:
    """The graph with weights that are int8, or else uint8."""
    made = onnx.ModelProto()
    made.CopyFrom(proto)
    for one in made.graph.initializer:
        if one.data_type == TensorProto.INT8:
            one.data_type = TensorProto.INT8 if signed else TensorProto.UINT8
    return made


def _elsewhere(name: str, kind: int, shape: tuple[int, ...]) -> onnx.TensorProto:
    value = TensorProto(name=name, data_type=kind, dims=shape, data_location=TensorProto.EXTERNAL)
    value.external_data.add(key="location", value="computed from the weights on loading")
    return value
