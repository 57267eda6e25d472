"""The names and shapes that all published checkpoints share, and sizes that are told by shapes. Pure functions."""

from __future__ import annotations

import math
from collections import Counter

from encoder.errors import UnusableForm

Shapes = dict[str, tuple[int, ...]]
HEAD_WIDTH, LARGE, LARGE_HEADS = 64, 4096, 32
MOST_LAYERS = 96


class Sizes:
    """Reads sizes off the shapes of a checkpoint; each has a default for a tensor that is missing or of another rank."""

    def __init__(self, shapes: Shapes):
        self._shapes = shapes

    def of(self, name: str, axis: int, default: int) -> int:
        """The length of an axis of a tensor."""
        shape = self._shapes.get(name, ())
        return shape[axis] if len(shape) > axis and shape[axis] > 0 else default

    def layers(self, prefix: str, default: int) -> int:
        """One more than the highest number after the prefix, so that a gap between layers shows as missing weights.

        Raises:
            UnusableForm: there are more layers than any OPT has.
        """
        numbers = {name.removeprefix(prefix).split(".")[0] for name in self._shapes if name.startswith(prefix)}
        layers = [int(number) for number in numbers if number.isascii() and number.isdigit() and len(number) <= 4]
        if max(layers, default=0) >= MOST_LAYERS:
            raise UnusableForm(f"{prefix}{max(layers)} is there: an OPT has at most {MOST_LAYERS} layers.")
        return max(layers) + 1 if layers else default


def heads_of(width: int) -> int:
    """The number of heads of a width. No shape tells it: heads are 64 wide, but an OPT of width 4096 has 32.

    Raises:
        UnusableForm: the width is not a multiple of 64.
    """
    if width % HEAD_WIDTH:
        raise UnusableForm(f"The hidden size is {width}: every OPT has heads of {HEAD_WIDTH} numbers, and it is no multiple.")
    return LARGE_HEADS if width == LARGE else width // HEAD_WIDTH


def usual_length(shapes: Shapes, prefix: str) -> int | None:
    """The length of most layer norms below a prefix; None if there is none.

    Layer norms are whole even in the file of a model-parallel run, which holds slices of the matrices.
    """
    lengths = Counter(
        shape[0] for name, shape in shapes.items() if name.startswith(prefix) and name.endswith(".gamma") and len(shape) == 1
    )
    return lengths.most_common(1)[0][0] if lengths else None


def square_side(area: float, problem: str) -> int:
    """The side of a square of this area.

    Raises:
        UnusableForm: with the message `problem`, if the area is not that of a square.
    """
    side = math.isqrt(max(int(area), 0))
    if side == 0 or side * side != area:
        raise UnusableForm(problem)
    return side


def slices_of(expected: Shapes, found: Shapes) -> int | None:
    """The n for which one axis of every tensor in `found` is an n-th of the expected length; None if there is none."""
    parts = {_part(expected[name], shape) for name, shape in found.items()}
    return parts.pop() if len(parts) == 1 else None


def _part(expected: tuple[int, ...], found: tuple[int, ...]) -> int | None:
    if len(expected) != len(found):
        return None
    different = [(whole, part) for whole, part in zip(expected, found, strict=True) if whole != part]
    if len(different) != 1:
        return None
    whole, part = different[0]
    return whole // part if part and whole % part == 0 else None


def block(name: str, width: int, inner: int, in_out: bool = True) -> Shapes:
    """The shapes of a pre-LN block; with `in_out` its feed-forward is stored as [in, out].

    The attention's projection is square, so that its shape is the same in both layouts.
    """
    mapping, projection = ((width, inner), (inner, width)) if in_out else ((inner, width), (width, inner))
    return (
        norm(f"{name}layernorm1", width)
        | norm(f"{name}layernorm2", width)
        | attention(f"{name}attention.", width)
        | {
            f"{name}output.mapping.weight": mapping,
            f"{name}output.mapping.bias": (inner,),
            f"{name}output.projection.weight": projection,
            f"{name}output.projection.bias": (width,),
        }
    )


def attention(name: str, width: int) -> Shapes:
    """The shapes of an attention: query, key, value and projection."""
    parts = ("dense1", "dense2", "dense3", "projection")
    return {key: shape for part in parts for key, shape in dense(f"{name}{part}", width, width).items()}


def dense(name: str, outputs: int, inputs: int) -> Shapes:
    """The shapes of a Dense layer."""
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def norm(name: str, width: int) -> Shapes:
    """The shapes of a layer norm."""
    return {f"{name}.gamma": (width,), f"{name}.beta": (width,)}
