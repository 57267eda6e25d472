"""Matrix products in 8 bits: the arithmetic, and the 8-bit graphs of a model folder. Never imports mindspore.

A product x W is computed as (x / steps) (steps * W). The `steps` [K], one for each column of x, are chosen when the graphs are
made, so that no column of either side dwarfs the others (Xiao et al. 2023, "SmoothQuant"). Both sides are then rounded to 8
bits, the weights with a scale for each output.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from encoder.errors import NoInt8Graphs
from encoder.files import sha256_of
from encoder.runtime.graph_files import FOLDER as GRAPHS
from encoder.runtime.graph_files import INT8 as FOLDER
from encoder.runtime.graph_files import source_digest

RECORD, STEPS = "int8.json", "steps.safetensors"
MODULES = ("exporting/onnx_quantization", "runtime/int8")
"""The modules, below `encoder/`, that decide what an 8-bit graph computes, beside those of the network."""
LARGEST = 127
WIDE_DOT_PRODUCTS = ("avx512_vnni", "avx_vnni", "amx_int8", "asimddp")
"""The names in /proc/cpuinfo of instructions that multiply 8-bit numbers and add the products up in 32 bits."""


@dataclass(frozen=True)
class Product:
    """A product in 8 bits.

    Attributes:
        weight: the name of its weight.
        bias: the name of its bias, if it has one.
        turned: the weight is stored as [N, K]; else as [K, N].
        leader: the weight of the first product that reads the same input.
    """

    weight: str
    bias: str | None
    turned: bool
    leader: str


@dataclass(frozen=True)
class Int8Graph:
    """A graph with products in 8 bits.

    Attributes:
        path: its file.
        weights: the names of the weights that stay float32.
        products: the products in 8 bits.
    """

    path: Path
    weights: list[str]
    products: list[Product]


def file_name(entry: str, signed: bool) -> str:
    """The file name of an entry's graph with int8 weights (`signed`), or with uint8 weights."""
    return f"{entry}.onnx" if signed else f"{entry}-unsigned.onnx"


def read_int8_graphs(model: Path, fingerprint: str, signed: bool) -> tuple[dict[str, Int8Graph], dict[str, np.ndarray]]:
    """Read the 8-bit graphs of a model folder.

    Args:
        fingerprint: of the model folder.
        signed: take the graphs with int8 weights; else those with uint8 weights.

    Returns:
        The graphs by entry, and the steps of each product by its weight.

    Raises:
        NoInt8Graphs: there are none, or they are damaged, or made of other weights or other code.
    """
    folder = model / GRAPHS / FOLDER
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        steps = load_file(folder / STEPS)
        if record["fingerprint"] != fingerprint or record["source"] != source_digest(*MODULES):
            raise NoInt8Graphs(model, "were made of other weights, or other code")
        graphs = {}
        for entry, one in record["graphs"].items():
            path = folder / file_name(entry, signed)
            if sha256_of(path) != one["sha256"][path.name]:
                raise NoInt8Graphs(model, f"are damaged ({path.name})")
            graphs[entry] = Int8Graph(path, one["weights"], [Product(**product) for product in one["products"]])
        return graphs, steps
    except FileNotFoundError as error:
        raise NoInt8Graphs(model, "are not there") from error
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise NoInt8Graphs(model, f"can't be read ({error})") from error


def constants(
    product: Product, weight: np.ndarray, bias: np.ndarray | None, steps: np.ndarray, signed: bool
) -> dict[str, np.ndarray]:
    """Compute the arrays that a graph needs for a product, by their names in the graph.

    Args:
        weight: float32 [K, N], or [N, K] if the product's weight is `turned`.
        bias: float32 [N], or None.
        steps: float32 [K].
        signed: True for int8 weights; else uint8, around 128.
    """
    matrix = (weight.T if product.turned else weight) * steps[:, None]
    scales = np.maximum(np.abs(matrix).max(0), 1e-12).astype(np.float32) / LARGEST
    codes = np.rint(matrix / scales).astype(np.int16)
    name = product.weight
    found = {
        f"{name}:codes": codes.astype(np.int8) if signed else (codes + 128).astype(np.uint8),
        f"{name}:zero": np.zeros(len(scales), np.int8) if signed else np.full(len(scales), 128, np.uint8),
        f"{name}:scales": scales,
    }
    if bias is not None:
        found[f"{name}:bias"] = np.rint(bias / scales).astype(np.int32)
    if product.leader == name:
        found[f"{name}:inverse"] = (1 / steps).astype(np.float32)
    return found


def balanced_steps(inputs: np.ndarray, weights: np.ndarray, alpha: float) -> np.ndarray:
    """Choose the steps of a product.

    Args:
        inputs: the largest absolute number in each column of the inputs, float32 [K].
        weights: the same of the weights, float32 [K].
        alpha: with 0 no column of the weights dwarfs the others, with 1 no column of the inputs.

    Returns:
        float32 [K].
    """
    inputs, weights = np.maximum(inputs, 1e-6), np.maximum(weights, 1e-6)
    smooth = inputs**alpha / weights ** (1 - alpha)
    return (smooth * (inputs / smooth).max() / LARGEST).astype(np.float32)


def has_wide_dot_products() -> bool:
    """True if the processor adds up 8-bit products without losing bits; then weights may be signed."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return any(name in flags for name in WIDE_DOT_PRODUCTS)
