"""What MindSpore 2.10 exports, made into graphs that ONNX Runtime runs fast and at any batch and length.

MindSpore writes opset 11, spells out layer norms, activations and attention, and puts batch and length into constants. A graph
is exported at several shapes; `unite` finds the constants that differ and computes them from the shapes of the inputs.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import onnx
import onnx_ir as ir
from onnx_ir.passes import common
from onnxscript.rewriter import pattern, rewrite

from encoder.runtime.graph_files import OPSET

MICROSOFT = "com.microsoft"
TANH_GELU = 1.5957691216057308, 0.07135481627159676
QUICK_GELU = 1.702


class _NoCast(pattern.RewriteRuleClassBase):
    """A cast of float32 to float32."""

    def pattern(self, op, x):
        return op.Cast(x, to=1)

    def check(self, context, x, **_):
        return x.dtype == ir.DataType.FLOAT

    def rewrite(self, op, x, **_):
        return op.Identity(x)


class _LayerNorm(pattern.RewriteRuleClassBase):
    """A layer norm over the last axis."""

    def pattern(self, op, x, gamma, beta, size, epsilon):
        centred = op.Sub(x, op.ReduceMean(x, _allow_other_inputs=True, _allow_other_attributes=True))
        squares = op.ReduceSumSquare(centred, _allow_other_inputs=True, _allow_other_attributes=True)
        deviation = op.Sqrt(op.Add(op.Div(squares, size), epsilon))
        return op.Add(op.Mul(op.Div(centred, deviation), gamma), beta)

    def check(self, context, x, gamma, size, epsilon, **_):
        width = _number(size)
        return width is not None and _number(epsilon) is not None and gamma.shape is not None and gamma.shape[-1] == width

    def rewrite(self, op, x, gamma, beta, epsilon, **_):
        return op.LayerNormalization(x, gamma, beta, axis=-1, epsilon=_number(epsilon))


class _TanhGelu(pattern.RewriteRuleClassBase):
    """`blocks.TanhGelu`."""

    def pattern(self, op, x, a, b):
        inner = op.Mul(x, op.Add(op.Mul(op.Mul(x, x), b), a))
        return op.Mul(x, op.Sigmoid(inner))

    def check(self, context, a, b, **_):
        return _numbers(a, b) == tuple(map(np.float32, TANH_GELU))

    def rewrite(self, op, x, **_):
        return op.FastGelu(x, _domain=MICROSOFT)


class _QuickGelu(pattern.RewriteRuleClassBase):
    """`blocks.QuickGelu`."""

    def pattern(self, op, x, a):
        return op.Mul(x, op.Sigmoid(op.Mul(x, a)))

    def check(self, context, a, **_):
        return _numbers(a) == (np.float32(QUICK_GELU),)

    def rewrite(self, op, x, **_):
        return op.QuickGelu(x, _domain=MICROSOFT, alpha=QUICK_GELU)


class _Attention(pattern.RewriteRuleClassBase):
    """`blocks._Heads`: split, scaled scores, softmax, mix, joined again; with a bias added to the scores, or without."""

    def __init__(self, biased: bool):
        super().__init__("BiasedAttention" if biased else "Attention")
        self._biased = biased

    def pattern(self, op, query, key, value, scale, bias, query_shape, key_shape, value_shape, joined_shape):
        split_query = op.Transpose(op.Reshape(query, query_shape), perm=[0, 2, 1, 3])
        split_key = op.Transpose(op.Transpose(op.Reshape(key, key_shape), perm=[0, 2, 1, 3]), perm=[0, 1, 3, 2])
        split_value = op.Transpose(op.Reshape(value, value_shape), perm=[0, 2, 1, 3])
        scores = op.MatMul(op.Mul(split_query, scale), split_key)
        if self._biased:
            scores = op.Add(scores, bias)
        mixed = op.MatMul(op.Softmax(scores, axis=-1), split_value)
        return op.Reshape(op.Transpose(mixed, perm=[0, 2, 1, 3]), joined_shape)

    def check(self, context, scale, query_shape, key_shape, value_shape, **_):
        shapes = [_ints(shape) for shape in (query_shape, key_shape, value_shape)]
        return _number(scale) is not None and all(shape is not None and len(shape) == 4 for shape in shapes)

    def rewrite(self, op, query, key, value, scale, query_shape, key_shape, value_shape, joined_shape, bias=None, **_):
        heads = _ints(query_shape)[2]
        joined = [
            op.Reshape(x, op.initializer(_joined(shape), name=f"{x.name}:shape"))
            for x, shape in ((query, query_shape), (key, key_shape), (value, value_shape))
        ]
        optional = [None, None, self._widened(op, bias, query_shape, key_shape)] if self._biased else []
        mixed = op.MultiHeadAttention(*joined, *optional, num_heads=heads, scale=_number(scale), _domain=MICROSOFT)
        return op.Reshape(mixed, joined_shape)

    @staticmethod
    def _widened(op, bias, query_shape, key_shape):
        """A bias [..., queries, keys]: ONNX Runtime repeats one for all queries by itself no more than one for all keys."""
        places = [_ints(query_shape)[1], _ints(key_shape)[1]]
        if bias.shape is not None and list(bias.shape)[-2:] == places and len(bias.shape) == 4:
            return bias
        shape = ir.tensor(np.array([1, 1, *places], np.int64))
        return op.Expand(bias, op.initializer(shape, name=f"{bias.name}:{places}"))


def _joined(shape: ir.Value) -> ir.Tensor:
    """[B, T, heads, size] -> [B, T, heads * size]."""
    *rows, heads, size = _ints(shape)
    return ir.tensor(np.array([*rows, heads * size], np.int64))


CASTS = pattern.RewriteRuleSet([_NoCast.rule()])
RULES = pattern.RewriteRuleSet(
    [_LayerNorm.rule(), _TanhGelu.rule(), _QuickGelu.rule(), _Attention.rule(True), _Attention.rule(False)], commute=True
)


def _number(value: ir.Value) -> float | None:
    """The number that a constant is; None where it is none, or not one number."""
    tensor = ir.convenience.get_const_tensor(value)
    return float(tensor.numpy().item()) if tensor is not None and tensor.size == 1 else None


def _numbers(*values: ir.Value) -> tuple[np.float32, ...] | None:
    found = [_number(value) for value in values]
    return None if None in found else tuple(map(np.float32, found))


def _ints(value: ir.Value) -> list[int] | None:
    tensor = ir.convenience.get_const_tensor(value)
    return None if tensor is None else [int(one) for one in tensor.numpy().reshape(-1)]


def simplified(proto: onnx.ModelProto) -> ir.Model:
    """A graph as MindSpore exported it, in the current opset and with fewer and faster nodes; it computes the same."""
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
    """Graphs that were exported at several shapes differ in something that these shapes don't explain."""


def unite(models: Sequence[ir.Model], sizes: Sequence[dict[str, int]], axes: dict[str, tuple[str | int, ...]]) -> ir.Model:
    """One graph for any size, of the same graph exported at several sizes; the first model is changed and returned.

    Args:
        models: what `simplified` gave, node by node the same.
        sizes: the sizes of each, by name, such as {"B": 2, "T": 24}; no two change alike, and none as others added up.
        axes: of each input its axes, by the name of their size or as a number, such as {"ids": ("B", "T")}.

    Raises IncompatibleShapes where the graphs differ in more than constants that are made of sizes.
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
            tensors = [None if value is None else ir.convenience.get_const_tensor(value) for value in values]
            if tensors[0] is None:
                continue
            arrays = [tensor.numpy() for tensor in tensors]
            if any(not np.array_equal(arrays[0], other) for other in arrays[1:]):
                nodes[0].replace_input_with(index, computed.constant(arrays, nodes[0]))
    for value in model.graph.inputs:
        if value.name in axes:
            value.shape = ir.Shape(axes[value.name])
    for value in (value for node in model.graph for value in node.outputs):
        value.shape = None
    return model


def _signature(node: ir.Node) -> tuple:
    attributes = tuple(sorted((name, str(one.value)) for name, one in node.attributes.items()))
    return node.domain, node.op_type, len(node.inputs), attributes


class _Sizes:
    """Makes constants that depend on sizes out of the shapes of the inputs."""

    def __init__(self, model: ir.Model, sizes: Sequence[dict[str, int]], places: dict[str, tuple[str, int]]):
        if len({tuple(size[name] for size in sizes) for name in places}) < len(places):
            raise ValueError(f"two of the sizes are alike in {list(sizes)}, so that one can't be told from the other")
        self._graph, self._sizes, self._places = model.graph, sizes, places
        self._inputs = {value.name: value for value in model.graph.inputs}
        self._known: dict[tuple, ir.Value] = {}
        self._first = model.graph[0]

    def constant(self, arrays: list[np.ndarray], user: ir.Node) -> ir.Value:
        """A value that is each of the arrays at the sizes of its model: a list of whole numbers, or one number everywhere."""
        if arrays[0].dtype == np.int64 and all(array.ndim == 1 and len(array) == len(arrays[0]) for array in arrays):
            return self._list(arrays, user)
        if len({array.ndim for array in arrays}) == 1 and len({number for array in arrays for number in array.flat}) == 1:
            shape = self._list([np.array(array.shape, np.int64) for array in arrays], user)
            number = self._constant(arrays[0].reshape(-1)[:1])
            return self._kept(("filled", number, shape), "Expand", [number, shape])
        raise IncompatibleShapes(
            f"a constant of {user.op_type} differs that is neither whole numbers nor one number everywhere"
        )

    def _list(self, arrays: list[np.ndarray], user: ir.Node) -> ir.Value:
        entries = [self._entry([int(array[i]) for array in arrays], user) for i in range(len(arrays[0]))]
        if len(entries) == 1:
            return entries[0]
        return self._kept(("concat", *entries), "Concat", entries, axis=0)

    def _entry(self, numbers: list[int], user: ir.Node) -> ir.Value:
        """A value [1] that is each number at its sizes."""
        if len(set(numbers)) == 1:
            return self._number(numbers[0])
        for count in range(1, len(self._places) + 1):
            for names in itertools.combinations(self._places, count):
                products = [int(np.prod([size[name] for name in names])) for size in self._sizes]
                if numbers[0] % products[0] == 0:
                    factor = numbers[0] // products[0]
                    if all(number == factor * product for number, product in zip(numbers, products, strict=True)):
                        return self._product(names, factor)
        for name in self._places:
            more = {number - size[name] for number, size in zip(numbers, self._sizes, strict=True)}
            if len(more) == 1:
                return self._kept((name, "+", *more), "Add", [self._size(name), self._number(more.pop())])
        for one, other in itertools.combinations(self._places, 2):
            if all(number == size[one] + size[other] for number, size in zip(numbers, self._sizes, strict=True)):
                return self._kept((one, "+", other), "Add", [self._size(one), self._size(other)])
        raise IncompatibleShapes(f"{user.op_type} needs {numbers} at {list(self._sizes)}")

    def _product(self, names: Sequence[str], factor: int) -> ir.Value:
        value = self._size(names[0])
        for i, name in enumerate(names[1:], 2):
            value = self._kept(("product", *names[:i]), "Mul", [value, self._size(name)])
        return value if factor == 1 else self._kept((*names, "*", factor), "Mul", [value, self._number(factor)])

    def _size(self, name: str) -> ir.Value:
        given, axis = self._places[name]
        shape = self._kept(("shape", given), "Shape", [self._inputs[given]])
        return self._kept((name,), "Gather", [shape, self._number(axis)], axis=0)

    def _number(self, number: int) -> ir.Value:
        return self._constant(np.array([number], np.int64))

    def _constant(self, array: np.ndarray) -> ir.Value:
        """An array [1] as a value, which is made once."""
        key = array.dtype.name, array.item()
        if key not in self._known:
            tensor = ir.tensor(array)
            value = ir.Value(
                name=f"size:{array.item()}", shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor
            )
            self._graph.register_initializer(value)
            self._known[key] = value
        return self._known[key]

    def _kept(self, key: tuple, kind: str, inputs: Sequence[ir.Value], **attributes: int) -> ir.Value:
        """The output of a node of this kind, which is made once."""
        if key not in self._known:
            made = ir.node(kind, inputs, attributes, name=f"size_{len(self._known)}")
            made.outputs[0].name = f"size_{len(self._known)}"
            self._graph.insert_before(self._first, made)
            self._known[key] = made.outputs[0]
        return self._known[key]


def finish(model: ir.Model, inputs: Sequence[str], outputs: Sequence[str], weights: dict[str, str], location: str) -> None:
    """Name inputs and outputs, make parameters initializers whose values lie elsewhere, shorten every other name.

    Args:
        inputs: the names of the arrays that a caller gives, the first inputs of the graph.
        outputs: the names of the outputs.
        weights: the names under which parameters are kept, by the names of the graph's other inputs.
        location: the file that holds them.
    """
    graph = model.graph
    while len(graph.inputs) > len(inputs):
        value = graph.inputs.pop()
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
