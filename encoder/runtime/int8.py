"""Products in 8 bits: the arithmetic, and the graphs of a model folder that have them. Never imports mindspore.

A product x W is computed as (x / steps) (steps * W): `steps` [K], one for each column of x, were chosen when the graphs were
made, so that neither side has columns that dwarf the others (Xiao et al. 2023, "SmoothQuant"). Both sides are then rounded to
8 bits, the weights with a scale for each output.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from encoder.errors import NoInt8Graphs
from encoder.runtime.graph_files import FOLDER as GRAPHS
from encoder.runtime.graph_files import INT8 as FOLDER
from encoder.runtime.graph_files import source_digest

RECORD, STEPS = "int8.json", "steps.safetensors"
MODULES = ("int8", "onnx_quantizing")
"""The modules that decide what an 8-bit graph computes, beside those of the network."""
LARGEST = 127
WIDE_DOT_PRODUCTS = ("avx512_vnni", "avx_vnni", "amx_int8", "asimddp")
"""What /proc/cpuinfo calls instructions that multiply 8-bit numbers and add them up in 32 bits."""


@dataclass(frozen=True)
class Product:
    """A product in 8 bits: the name of its weight, stored as [N, K] if `turned`, and of its bias; `leader` is the weight of the
    first product that reads the same input."""

    weight: str
    bias: str | None
    turned: bool
    leader: str


@dataclass(frozen=True)
class Int8Graph:
    """A graph with products in 8 bits: its file, the weights that stay float32, and the products."""

    path: Path
    weights: list[str]
    products: list[Product]


def file_name(entry: str, signed: bool) -> str:
    """The file of an entry's graph, with weights that are int8 or uint8."""
    return f"{entry}.onnx" if signed else f"{entry}-unsigned.onnx"


def read_int8_graphs(model: Path, fingerprint: str, signed: bool) -> tuple[dict[str, Int8Graph], dict[str, np.ndarray]]:
    """The graphs with 8-bit products of a model folder by entry, and the steps of each product by its weight.

    Raises NoInt8Graphs where there are none, or they were made of other weights or other code, or are damaged.
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
            if hashlib.sha256(path.read_bytes()).hexdigest() != one["sha256"][path.name]:
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
    """What a graph needs for a product, by the names that it has there.

    Args:
        weight: float32 [K, N], or [N, K] where the product's weight is `turned`.
        bias: float32 [N], or None.
        steps: float32 [K].
        signed: whether weights are int8; else uint8, around 128.
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
    """Steps float32 [K] for inputs whose largest numbers are `inputs` [K] and weights whose largest are `weights` [K].

    With `alpha` 0 the weights keep no column that dwarfs the others, with 1 the inputs.
    """
    inputs, weights = np.maximum(inputs, 1e-6), np.maximum(weights, 1e-6)
    smooth = inputs**alpha / weights ** (1 - alpha)
    return (smooth * (inputs / smooth).max() / LARGEST).astype(np.float32)


def has_wide_dot_products() -> bool:
    """Whether the processor multiplies 8-bit numbers without losing bits of their sums: then weights may be signed."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return any(name in flags for name in WIDE_DOT_PRODUCTS)
