"""Rewritten graphs have fewer and faster operators, and give the same numbers at any batch and length."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from encoder.exporting.onnx_rewriting import IncompatibleShapes, finish, simplify, unite

EXPORTED = 11
"""The opset that MindSpore 2.10 writes."""

WIDTH, HEADS = 8, 2
RNG = np.random.default_rng(0)


class Graph:
    """An ONNX graph that is built node by node: a call of an operator gives the name of its output."""

    def __init__(self, **inputs: Sequence[int]):
        self.nodes, self.constants = [], []
        self.inputs = [
            helper.make_tensor_value_info(name, TensorProto.INT32 if name == "ids" else TensorProto.FLOAT, shape)
            for name, shape in inputs.items()
        ]

    def __getattr__(self, operator: str) -> Callable[..., str]:
        def add(*inputs: Any, **attributes: Any) -> str:
            name = f"{operator}_{len(self.nodes)}"
            self.nodes.append(helper.make_node(operator, [*map(self._named, inputs)], [name], **attributes))
            return name

        return add

    def _named(self, value: Any) -> str:
        if isinstance(value, str):
            return value
        name = f"constant_{len(self.constants)}"
        array = np.asarray(value)
        array = array.astype(np.int64 if array.dtype.kind == "i" else np.float32)
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def proto(self, output: str) -> onnx.ModelProto:
        outputs = [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)]
        graph = helper.make_graph(self.nodes, "graph", self.inputs, outputs, self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", EXPORTED)], ir_version=8)


def run(model: ir.Model | onnx.ModelProto, **inputs: np.ndarray) -> np.ndarray:
    proto = ir.to_proto(model) if isinstance(model, ir.Model) else model
    return onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, inputs)[0]


def operators(model: ir.Model) -> list[str]:
    return [node.op_type for node in model.graph]


def some(*shape: int) -> np.ndarray:
    return RNG.normal(0, 1, shape).astype(np.float32)


def layer_norm(graph: Graph, x: str, gamma: np.ndarray, beta: np.ndarray, size: int = WIDTH) -> str:
    centred = graph.Sub(x, graph.ReduceMean(x, axes=[-1], keepdims=1))
    deviation = graph.Sqrt(graph.Add(graph.Div(graph.ReduceSumSquare(centred, axes=[-1], keepdims=1), float(size)), 1e-5))
    return graph.Add(graph.Mul(graph.Div(centred, deviation), gamma), beta)


def tanh_gelu(graph: Graph, x: str, a: float = 1.5957691216057308) -> str:
    return graph.Mul(x, graph.Sigmoid(graph.Mul(x, graph.Add(graph.Mul(graph.Mul(x, x), 0.07135481627159676), a))))


def quick_gelu(graph: Graph, x: str, a: float = 1.702) -> str:
    return graph.Mul(x, graph.Sigmoid(graph.Mul(x, a)))


def attention(
    graph: Graph,
    query: str,
    key: str,
    value: str,
    queries: int,
    keys: int,
    bias: str | None = None,
    batch: int = 2,
    scale: float = 0.5,
) -> str:
    size = WIDTH // HEADS
    split = [
        graph.Transpose(graph.Reshape(one, [batch, length, HEADS, size]), perm=[0, 2, 1, 3])
        for one, length in ((query, queries), (key, keys), (value, keys))
    ]
    scores = graph.MatMul(graph.Mul(split[0], scale), graph.Transpose(split[1], perm=[0, 1, 3, 2]))
    if bias is not None:
        scores = graph.Add(scores, bias)
    mixed = graph.Transpose(graph.MatMul(graph.Softmax(scores, axis=3), split[2]), perm=[0, 2, 1, 3])
    return graph.Reshape(mixed, [batch, queries, WIDTH])


def test_a_cast_to_the_same_type_is_removed():
    graph = Graph(x=[2, 3])
    proto = graph.proto(graph.Relu(graph.Cast("x", to=1)))
    model, x = simplify(proto), some(2, 3)
    assert operators(model) == ["Relu"]
    np.testing.assert_array_equal(run(model, x=x), run(proto, x=x))


def test_a_layer_norm_is_one_operator():
    graph = Graph(x=[2, 3, WIDTH])
    proto = graph.proto(layer_norm(graph, "x", 1 + some(WIDTH), some(WIDTH)))
    model, x = simplify(proto), some(2, 3, WIDTH)
    assert operators(model) == ["LayerNormalization"]
    np.testing.assert_allclose(run(model, x=x), run(proto, x=x), atol=1e-5)


def test_a_sum_of_squares_over_another_width_is_no_layer_norm():
    graph = Graph(x=[2, 3, WIDTH])
    proto = graph.proto(layer_norm(graph, "x", 1 + some(WIDTH), some(WIDTH), size=WIDTH - 1))
    model, x = simplify(proto), some(2, 3, WIDTH)
    assert "LayerNormalization" not in operators(model)
    np.testing.assert_allclose(run(model, x=x), run(proto, x=x), atol=1e-5)


@pytest.mark.parametrize(("activation", "operator"), [(tanh_gelu, "FastGelu"), (quick_gelu, "QuickGelu")])
def test_an_activation_is_one_operator(activation, operator):
    graph = Graph(x=[2, 3, WIDTH])
    proto = graph.proto(activation(graph, "x"))
    model, x = simplify(proto), 3 * some(2, 3, WIDTH)
    assert operators(model) == [operator]
    np.testing.assert_allclose(run(model, x=x), run(proto, x=x), atol=1e-5)


@pytest.mark.parametrize("activation", [tanh_gelu, quick_gelu])
def test_an_activation_with_another_number_stays(activation):
    graph = Graph(x=[2, 3, WIDTH])
    proto = graph.proto(activation(graph, "x", 1.5))
    model, x = simplify(proto), some(2, 3, WIDTH)
    assert not {"FastGelu", "QuickGelu"} & {*operators(model)}
    np.testing.assert_allclose(run(model, x=x), run(proto, x=x), atol=1e-5)


@pytest.mark.parametrize("queries", [1, 3])
@pytest.mark.parametrize(
    "bias", [None, (2, 1, "queries", 5), (1, 1, "queries", 5), (2, 1, 1, 5), (1, 1, 1, 5), (2, HEADS, 1, 5)]
)
def test_attention_is_one_operator(bias, queries):
    shape = None if bias is None else [queries if size == "queries" else size for size in bias]
    arrays = {"q": some(2, queries, WIDTH), "k": some(2, 5, WIDTH), "v": some(2, 5, WIDTH)}
    arrays |= {} if bias is None else {"bias": 3 * some(*shape)}
    graph = Graph(**{name: array.shape for name, array in arrays.items()})
    proto = graph.proto(attention(graph, "q", "k", "v", queries, 5, None if bias is None else "bias"))

    model = simplify(proto)

    assert "MultiHeadAttention" in operators(model) and not {"MatMul", "Softmax", "Transpose"} & {*operators(model)}
    np.testing.assert_allclose(run(model, **arrays), run(proto, **arrays), atol=1e-5)


def network(batch: int, length: int, regions: int = 4, weight: np.ndarray | None = None, zeros: bool = True) -> onnx.ModelProto:
    """A small network as MindSpore exports it at one size: attention within two sequences that are joined."""
    graph = Graph(x=[batch, length, WIDTH], y=[batch, regions, WIDTH])
    rows = graph.MatMul(graph.Reshape("x", [batch * length, WIDTH]), weight)
    x = graph.Reshape(tanh_gelu(graph, rows), [batch, length, WIDTH])
    parts = [x, "y", np.zeros((batch, 1, WIDTH), np.float32)] if zeros else [x, "y"]
    both, longer = graph.Concat(*parts, axis=1), length + regions + zeros
    joined = attention(graph, both, both, both, longer, longer, batch=batch)
    return graph.proto(layer_norm(graph, joined, np.ones(WIDTH), np.zeros(WIDTH)))


AXES = {"x": ("B", "T", WIDTH), "y": ("B", "L", WIDTH)}
SIZES = [{"B": 2, "T": 6, "L": 9}, {"B": 3, "T": 5, "L": 7}]


def united(weight: np.ndarray, sizes: list[dict[str, int]] = SIZES, zeros: bool = False) -> ir.Model:
    models = [simplify(network(size["B"], size["T"], size["L"], weight, zeros)) for size in sizes]
    return unite(models, sizes, AXES)


@pytest.mark.parametrize(("batch", "length", "regions"), [(1, 1, 1), (1, 8, 3), (2, 6, 9), (7, 5, 5), (4, 31, 2)])
def test_a_united_graph_gives_at_any_size_what_one_of_that_size_gives(batch, length, regions):
    weight = some(WIDTH, WIDTH)
    model = united(weight)
    inputs = {"x": some(batch, length, WIDTH), "y": some(batch, regions, WIDTH)}
    expected = run(network(batch, length, regions, weight, zeros=False), **inputs)
    np.testing.assert_allclose(run(model, **inputs), expected, atol=1e-5)


def fixed(batch: int, weight: np.ndarray) -> onnx.ModelProto:
    return network(batch, 6, 4, weight)


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_a_constant_with_one_number_everywhere_grows_with_the_batch(batch):
    weight, axes = some(WIDTH, WIDTH), {"x": ("B", 6, WIDTH), "y": ("B", 4, WIDTH)}
    model = unite([simplify(fixed(size, weight)) for size in (2, 3)], [{"B": 2}, {"B": 3}], axes)
    inputs = {"x": some(batch, 6, WIDTH), "y": some(batch, 4, WIDTH)}
    np.testing.assert_allclose(run(model, **inputs), run(fixed(batch, weight), **inputs), atol=1e-5)


def two(make: Callable[[int, int], onnx.ModelProto], sizes: Sequence[tuple[int, int]] = ((2, 6), (3, 5))) -> ir.Model:
    """Unite what `make` makes at two batches and lengths."""
    models = [simplify(make(batch, length)) for batch, length in sizes]
    return unite(models, [{"B": batch, "T": length} for batch, length in sizes], {"x": ("B", "T", WIDTH)})


def reshaped(shape_of: Callable[[int, int], list[int]]) -> Callable[[int, int], onnx.ModelProto]:
    def make(batch: int, length: int) -> onnx.ModelProto:
        graph = Graph(x=[batch, length, WIDTH])
        return graph.proto(graph.Relu(graph.Reshape("x", shape_of(batch, length))))

    return make


@pytest.mark.parametrize(
    "shape_of",
    [
        lambda b, t: [b * t, WIDTH],
        lambda b, t: [b, t * WIDTH],
        lambda b, t: [b * t * WIDTH],
        lambda b, t: [b, 2, t * 4],
    ],
)
def test_shapes_are_computed_from_sizes(shape_of):
    model, x = two(reshaped(shape_of)), some(4, 9, WIDTH)
    assert run(model, x=x).shape == tuple(shape_of(4, 9))


def test_a_shape_that_depends_on_no_size_is_refused():
    with pytest.raises(IncompatibleShapes, match="Reshape needs"):
        two(reshaped(lambda b, t: [-1, {6: 3, 5: 10}[t]]))


def test_different_nodes_are_refused():
    def make(batch: int, length: int) -> onnx.ModelProto:
        graph = Graph(x=[batch, length, WIDTH])
        return graph.proto(graph.Relu("x") if batch == 2 else graph.Tanh("x"))

    with pytest.raises(IncompatibleShapes, match="node by node"):
        two(make)


def test_an_additional_node_is_refused():
    def make(batch: int, length: int) -> onnx.ModelProto:
        graph = Graph(x=[batch, length, WIDTH])
        return graph.proto(graph.Relu("x") if batch == 2 else graph.Tanh(graph.Relu("x")))

    with pytest.raises(IncompatibleShapes, match="node by node"):
        two(make)


def test_different_attributes_are_refused():
    def make(batch: int, length: int) -> onnx.ModelProto:
        graph = Graph(x=[batch, length, WIDTH])
        return graph.proto(graph.Softmax("x", axis=2 if batch == 2 else 1))

    with pytest.raises(IncompatibleShapes, match="node by node"):
        two(make)


def test_different_constants_are_refused():
    def make(batch: int, length: int) -> onnx.ModelProto:
        graph = Graph(x=[batch, length, WIDTH])
        return graph.proto(graph.Add("x", np.arange(WIDTH) * 1.5 + batch))

    with pytest.raises(IncompatibleShapes, match="a constant of Add differs"):
        two(make)


def test_names_with_equal_sizes_are_refused():
    with pytest.raises(ValueError, match="one can't be told from the other"):
        united(some(WIDTH, WIDTH), [{"B": 2, "T": 6, "L": 6}, {"B": 3, "T": 5, "L": 5}])


def test_a_finished_graph_has_external_weights_and_the_given_names():
    graph = Graph(x=[2, 3], kernel=[3, 4])
    model = simplify(graph.proto(graph.Relu(graph.MatMul("x", "kernel"))))
    finish(model, ["x"], ["y"], {"kernel": "dense.weight"}, "../weights.safetensors")

    assert [value.name for value in model.graph.inputs] == ["x"] and model.graph.outputs[0].name == "y"
    assert [*model.graph.initializers] == ["dense.weight"]
    options, weight, x = onnxruntime.SessionOptions(), some(3, 4), some(2, 3)
    options.add_external_initializers(["dense.weight"], [onnxruntime.OrtValue.ortvalue_from_numpy(weight)])
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString(), options, providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(["y"], {"x": x})[0], np.maximum(x @ weight, 0), atol=1e-5)
