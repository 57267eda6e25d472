"""Rewrites what MindSpore 2.10 exports into graphs that ONNX Runtime runs fast, at any batch and length.

MindSpore writes opset 11, writes layer norms, activations and attention as many small nodes, and turns batch and length into
constants. So a graph is exported at several sizes; `unite` finds the constants that differ and computes them from the shapes
of the inputs.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx_ir.passes import common
from onnxscript.rewriter import pattern, rewrite

from encoder.runtime.graph_files import OPSET

MICROSOFT = "com.microsoft"
TANH_GELU = 1.5957691216057308, 0.07135481627159676
QUICK_GELU = 1.702


class _Rule(pattern.RewriteRuleClassBase):
    """A rewrite rule. Its `check` may return a bool: onnxscript's own rules do, though its annotation says MatchResult."""

    def check(self, op: Any, *args: Any, **kwargs: Any) -> Any:
        return True


class _RedundantCast(_Rule):
    """A cast of float32 to float32."""

    def pattern(self, op: Any, x: Any) -> Any:
        return op.Cast(x, to=1)

    def check(self, context: Any, x: ir.Value, **_: Any) -> bool:
        return x.dtype == ir.DataType.FLOAT

    def rewrite(self, op: Any, x: ir.Value, **_: Any) -> Any:
        return op.Identity(x)


class _LayerNorm(_Rule):
    """A layer norm over the last axis, as MindSpore writes it."""

    def pattern(self, op: Any, x: Any, gamma: Any, beta: Any, size: Any, epsilon: Any) -> Any:
        centred = op.Sub(x, op.ReduceMean(x, _allow_other_inputs=True, _allow_other_attributes=True))
        squares = op.ReduceSumSquare(centred, _allow_other_inputs=True, _allow_other_attributes=True)
        deviation = op.Sqrt(op.Add(op.Div(squares, size), epsilon))
        return op.Add(op.Mul(op.Div(centred, deviation), gamma), beta)

    def check(self, context: Any, x: ir.Value, gamma: ir.Value, size: ir.Value, epsilon: ir.Value, **_: Any) -> bool:
        width = _number(size)
        return width is not None and _number(epsilon) is not None and gamma.shape is not None and gamma.shape[-1] == width

    def rewrite(self, op: Any, x: ir.Value, gamma: ir.Value, beta: ir.Value, epsilon: ir.Value, **_: Any) -> Any:
        return op.LayerNormalization(x, gamma, beta, axis=-1, epsilon=_number(epsilon))


class _TanhGelu(_Rule):
    """`blocks.TanhGelu`."""

    def pattern(self, op: Any, x: Any, a: Any, b: Any) -> Any:
        inner = op.Mul(x, op.Add(op.Mul(op.Mul(x, x), b), a))
        return op.Mul(x, op.Sigmoid(inner))

    def check(self, context: Any, a: ir.Value, b: ir.Value, **_: Any) -> bool:
        return _numbers(a, b) == tuple(map(np.float32, TANH_GELU))

    def rewrite(self, op: Any, x: ir.Value, **_: Any) -> Any:
        return op.FastGelu(x, _domain=MICROSOFT)


class _QuickGelu(_Rule):
    """`blocks.QuickGelu`."""

    def pattern(self, op: Any, x: Any, a: Any) -> Any:
        return op.Mul(x, op.Sigmoid(op.Mul(x, a)))

    def check(self, context: Any, a: ir.Value, **_: Any) -> bool:
        return _numbers(a) == (np.float32(QUICK_GELU),)

    def rewrite(self, op: Any, x: ir.Value, **_: Any) -> Any:
        return op.QuickGelu(x, _domain=MICROSOFT, alpha=QUICK_GELU)


class _Attention(_Rule):
    """`blocks._Heads`: split into heads, scaled scores, softmax, weighted mean, heads joined; with a bias or without."""

    def __init__(self, biased: bool):
        super().__init__("BiasedAttention" if biased else "Attention")
        self._biased = biased

    def pattern(
        self,
        op: Any,
        query: Any,
        key: Any,
        value: Any,
        scale: Any,
        bias: Any,
        query_shape: Any,
        key_shape: Any,
        value_shape: Any,
        joined_shape: Any,
    ) -> Any:
        split_query = op.Transpose(op.Reshape(query, query_shape), perm=[0, 2, 1, 3])
        split_key = op.Transpose(op.Transpose(op.Reshape(key, key_shape), perm=[0, 2, 1, 3]), perm=[0, 1, 3, 2])
        split_value = op.Transpose(op.Reshape(value, value_shape), perm=[0, 2, 1, 3])
        scores = op.MatMul(op.Mul(split_query, scale), split_key)
        if self._biased:
            scores = op.Add(scores, bias)
        mixed = op.MatMul(op.Softmax(scores, axis=-1), split_value)
        return op.Reshape(op.Transpose(mixed, perm=[0, 2, 1, 3]), joined_shape)

    def check(
        self, context: Any, scale: ir.Value, query_shape: ir.Value, key_shape: ir.Value, value_shape: ir.Value, **_: Any
    ) -> bool:
        shapes = [_ints(shape) for shape in (query_shape, key_shape, value_shape)]
        return _number(scale) is not None and all(shape is not None and len(shape) == 4 for shape in shapes)

    def rewrite(
        self,
        op: Any,
        query: ir.Value,
        key: ir.Value,
        value: ir.Value,
        scale: ir.Value,
        query_shape: ir.Value,
        key_shape: ir.Value,
        value_shape: ir.Value,
        joined_shape: ir.Value,
        bias: ir.Value | None = None,
        **_: Any,
    ) -> Any:
        heads = _dims(query_shape)[2]
        joined = [
            op.Reshape(x, op.initializer(_joined_shape(shape), name=f"{x.name}:shape"))
            for x, shape in ((query, query_shape), (key, key_shape), (value, value_shape))
        ]
        optional = [] if bias is None else [None, None, self._expanded(op, bias, query, query_shape, key_shape)]
        mixed = op.MultiHeadAttention(*joined, *optional, num_heads=heads, scale=_number(scale), _domain=MICROSOFT)
        return op.Reshape(mixed, joined_shape)

    @staticmethod
    def _expanded(op: Any, bias: ir.Value, query: ir.Value, query_shape: ir.Value, key_shape: ir.Value) -> ir.Value:
        """Expand a bias to [1, 1, queries, keys] if need be: ONNX Runtime doesn't broadcast these two axes.

        Several attentions may share a bias, so that the constant's name is that of the queries.
        """
        lengths = [_dims(query_shape)[1], _dims(key_shape)[1]]
        if bias.shape is not None and list(bias.shape)[-2:] == lengths and len(bias.shape) == 4:
            return bias
        shape = ir.tensor(np.array([1, 1, *lengths], np.int64))
        return op.Expand(bias, op.initializer(shape, name=f"{query.name}:bias"))


def _joined_shape(shape: ir.Value) -> ir.TensorProtocol:
    """Join the heads of a constant shape: [B, T, heads, size] -> [B, T, heads * size]."""
    *rows, heads, size = _dims(shape)
    return ir.tensor(np.array([*rows, heads * size], np.int64))


CASTS = pattern.RewriteRuleSet([_RedundantCast.rule()])
RULES = pattern.RewriteRuleSet(
    [_LayerNorm.rule(), _TanhGelu.rule(), _QuickGelu.rule(), _Attention.rule(True), _Attention.rule(False)], commute=True
)


def _number(value: ir.Value) -> float | None:
    """Give the number in a constant; None if the value is no constant, or has not exactly one number."""
    tensor = ir.convenience.get_const_tensor(value)
    return float(tensor.numpy().item()) if tensor is not None and tensor.size == 1 else None


def _numbers(*values: ir.Value) -> tuple[np.float32, ...] | None:
    found = [_number(value) for value in values]
    return None if None in found else tuple(map(np.float32, found))


def _dims(shape: ir.Value) -> list[int]:
    """Give the numbers of a shape that `check` found to be a constant."""
    dims = _ints(shape)
    assert dims is not None
    return dims


def _ints(value: ir.Value) -> list[int] | None:
    tensor = ir.convenience.get_const_tensor(value)
    return None if tensor is None else [int(one) for one in tensor.numpy().reshape(-1)]


def simplify(proto: onnx.ModelProto) -> ir.Model:
    """Convert a graph that MindSpore exported to opset OPSET, with fewer and faster nodes that compute the same."""
    model = ir.from_proto(onnx.shape_inference.infer_shapes(onnx.version_converter.convert_version(proto, OPSET)))
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    rewrite(model, CASTS)
    common.IdentityEliminationPass()(model)
    rewrite(model, RULES)
    common.IdentityEliminationPass()(model)
    common.RemoveUnusedNodesPass()(model)
    model.graph.opset_imports[MICROSOFT] = 1
    return model


class IncompatibleShapes(ValueError):
    """Graphs that were exported at several sizes differ in something that these sizes don't explain."""


def unite(models: Sequence[ir.Model], sizes: Sequence[dict[str, int]], axes: dict[str, tuple[str | int, ...]]) -> ir.Model:
    """Make one graph for any size from a graph that was exported at several sizes.

    Args:
        models: what `simplify` gave at each size. The first is changed and returned.
        sizes: the sizes of each model, by name, such as {"B": 2, "T": 24}. No two names may have the same sizes in all models,
            and none the sum of others.
        axes: the axes of each input, as the name of a size or as a number, such as {"ids": ("B", "T")}.

    Raises:
        IncompatibleShapes: the graphs differ in more than constants that depend on sizes.
    """
    model = models[0]
    computed = _Sizes(
        model,
        sizes,
        {size: (name, axis) for name, own in reversed(axes.items()) for axis, size in enumerate(own) if isinstance(size, str)},
    )
    for nodes in itertools.zip_longest(*(list(one.graph) for one in models)):
        if None in nodes or len({_signature(node) for node in nodes}) != 1:
            raise IncompatibleShapes("the graphs are not the same, node by node")
        for index, values in enumerate(zip(*(node.inputs for node in nodes), strict=True)):
            arrays = _constants(values)
            if any(not np.array_equal(arrays[0], other) for other in arrays[1:]):
                nodes[0].replace_input_with(index, computed.constant(arrays, nodes[0]))
    for value in model.graph.inputs:
        if value.name in axes:
            value.shape = ir.Shape(axes[value.name])
    for value in (value for node in model.graph for value in node.outputs):
        value.shape = None
    return model


def _constants(values: Sequence[ir.Value | None]) -> list[np.ndarray]:
    """Give the arrays of the same input in all graphs; none if it is no constant in the first.

    Raises:
        IncompatibleShapes: it is no constant in one of the others.
    """
    tensors = [None if value is None else ir.convenience.get_const_tensor(value) for value in values]
    if tensors[0] is None:
        return []
    arrays = [tensor.numpy() for tensor in tensors if tensor is not None]
    if len(arrays) < len(tensors):
        raise IncompatibleShapes("an input is a constant in some of the graphs only")
    return arrays


def _signature(node: ir.Node) -> tuple:
    """Give what must be the same in all graphs."""
    attributes = tuple(sorted((name, str(one.value)) for name, one in node.attributes.items()))
    return node.domain, node.op_type, len(node.inputs), attributes


class _Sizes:
    """Computes constants that depend on sizes from the shapes of the inputs.

    Raises:
        ValueError: two sizes are the same in all models.
    """

    def __init__(self, model: ir.Model, sizes: Sequence[dict[str, int]], axes: dict[str, tuple[str, int]]):
        if len({tuple(size[name] for size in sizes) for name in axes}) < len(axes):
            raise ValueError(f"two of the sizes are alike in {list(sizes)}, so that one can't be told from the other")
        self._graph, self._sizes, self._axes = model.graph, sizes, axes
        self._inputs = {value.name: value for value in model.graph.inputs}
        self._values: dict[tuple, ir.Value] = {}
        self._first = model.graph[0]

    def constant(self, arrays: list[np.ndarray], user: ir.Node) -> ir.Value:
        """Make a value that equals each array at the sizes of its model.

        Args:
            arrays: the constant in each model: a list of integers, or an array with the same number everywhere.
            user: the node that reads it.

        Raises:
            IncompatibleShapes: the constant is something else, or no product or sum of sizes.
        """
        if arrays[0].dtype == np.int64 and all(array.ndim == 1 and len(array) == len(arrays[0]) for array in arrays):
            return self._list(arrays, user)
        if len({array.ndim for array in arrays}) == 1 and len({number for array in arrays for number in array.flat}) == 1:
            shape = self._list([np.array(array.shape, np.int64) for array in arrays], user)
            number = self._constant(arrays[0].reshape(-1)[:1])
            return self._node(("filled", number, shape), "Expand", [number, shape])
        raise IncompatibleShapes(
            f"a constant of {user.op_type} differs that is neither whole numbers nor one number everywhere"
        )

    def _list(self, arrays: list[np.ndarray], user: ir.Node) -> ir.Value:
        entries = [self._entry([int(array[i]) for array in arrays], user) for i in range(len(arrays[0]))]
        if len(entries) == 1:
            return entries[0]
        return self._node(("concat", *entries), "Concat", entries, axis=0)

    def _entry(self, numbers: list[int], user: ir.Node) -> ir.Value:
        """Make a value [1] that equals each number at the sizes of its model."""
        if len(set(numbers)) == 1:
            return self._number(numbers[0])
        for count in range(1, len(self._axes) + 1):
            for names in itertools.combinations(self._axes, count):
                products = [int(np.prod([size[name] for name in names])) for size in self._sizes]
                if numbers[0] % products[0] == 0:
                    factor = numbers[0] // products[0]
                    if all(number == factor * product for number, product in zip(numbers, products, strict=True)):
                        return self._product(names, factor)
        for name in self._axes:
            more = {number - size[name] for number, size in zip(numbers, self._sizes, strict=True)}
            if len(more) == 1:
                return self._node((name, "+", *more), "Add", [self._size(name), self._number(more.pop())])
        for one, other in itertools.combinations(self._axes, 2):
            if all(number == size[one] + size[other] for number, size in zip(numbers, self._sizes, strict=True)):
                return self._node((one, "+", other), "Add", [self._size(one), self._size(other)])
        raise IncompatibleShapes(f"{user.op_type} needs {numbers} at {list(self._sizes)}")

    def _product(self, names: Sequence[str], factor: int) -> ir.Value:
        value = self._size(names[0])
        for i, name in enumerate(names[1:], 2):
            value = self._node(("product", *names[:i]), "Mul", [value, self._size(name)])
        return value if factor == 1 else self._node((*names, "*", factor), "Mul", [value, self._number(factor)])

    def _size(self, name: str) -> ir.Value:
        given, axis = self._axes[name]
        shape = self._node(("shape", given), "Shape", [self._inputs[given]])
        return self._node((name,), "Gather", [shape, self._number(axis)], axis=0)

    def _number(self, number: int) -> ir.Value:
        return self._constant(np.array([number], np.int64))

    def _constant(self, array: np.ndarray) -> ir.Value:
        """Make a constant [1], once for each number and type."""
        key = array.dtype.name, array.item()
        if key not in self._values:
            tensor, shape = ir.tensor(array), ir.Shape(array.shape)
            value = ir.Value(name=f"size:{array.item()}", shape=shape, type=ir.TensorType(tensor.dtype), const_value=tensor)
            self._graph.register_initializer(value)
            self._values[key] = value
        return self._values[key]

    def _node(self, key: tuple, kind: str, inputs: Sequence[ir.Value], **attributes: int) -> ir.Value:
        """Make a node of this kind, once for each key, and give its output."""
        if key not in self._values:
            node = ir.node(kind, inputs, attributes, name=f"size_{len(self._values)}")
            node.outputs[0].name = f"size_{len(self._values)}"
            self._graph.insert_before(self._first, node)
            self._values[key] = node.outputs[0]
        return self._values[key]


def finish(model: ir.Model, inputs: Sequence[str], outputs: Sequence[str], weights: dict[str, str], location: str) -> None:
    """Name the outputs, turn parameters into external initializers, and shorten every other name.

    Args:
        model: the graph, which is changed.
        inputs: the names of the arrays that a caller gives; they are the first inputs of the graph.
        outputs: the names for the outputs.
        weights: the names of the weights, by the names of the graph's other inputs, which are the parameters.
        location: the file that has the weights.
    """
    graph = model.graph
    while len(graph.inputs) > len(inputs):
        value = graph.inputs.pop()
        assert value.name is not None and value.dtype is not None and value.shape is not None
        value.name = weights[value.name]
        value.const_value = ir.ExternalTensor(location, 0, None, value.dtype, shape=value.shape, name=value.name)
        graph.register_initializer(value)
    for i, node in enumerate(graph):
        node.name = f"{node.op_type}_{i}"
        for j, value in enumerate(node.outputs):
            value.name = f"{i}" if j == 0 else f"{i}:{j}"
    common.RemoveUnusedNodesPass()(model)
    for value, name in zip(graph.outputs, outputs, strict=True):
        value.name = name
