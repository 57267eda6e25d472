"""Names and shapes that the published checkpoints have in common, and sizes read off them. Pure functions."""

from __future__ import annotations

import math
from collections import Counter

from encoder.errors import UnusableForm

Shapes = dict[str, tuple[int, ...]]
HEAD_WIDTH, LARGE, LARGE_HEADS = 64, 4096, 32
MOST_LAYERS = 96


class Sizes:
    """Sizes read off shapes, each with what to take where the tensor is missing or of another rank."""

    def __init__(self, shapes: Shapes):
        self._shapes = shapes

    def of(self, name: str, axis: int, otherwise: int) -> int:
        """The length of an axis of a tensor."""
        shape = self._shapes.get(name, ())
        return shape[axis] if len(shape) > axis and shape[axis] > 0 else otherwise

    def layers(self, prefix: str, otherwise: int) -> int:
        """One more than the highest number after the prefix: a layer that is missing between others is missed."""
        numbers = {name.removeprefix(prefix).split(".")[0] for name in self._shapes if name.startswith(prefix)}
        layers = [int(number) for number in numbers if number.isascii() and number.isdigit() and len(number) <= 4]
        if max(layers, default=0) >= MOST_LAYERS:
            raise UnusableForm(f"{prefix}{max(layers)} is there: an OPT has at most {MOST_LAYERS} layers.")
        return max(layers) + 1 if layers else otherwise


def heads_of(width: int) -> int:
    """Heads leave no trace in a shape: they are 64 numbers wide, but for the two OPTs that are 4096 wide and have 32."""
    if width % HEAD_WIDTH:
        raise UnusableForm(f"The hidden size is {width}: every OPT has heads of {HEAD_WIDTH} numbers, and it is no multiple.")
    return LARGE_HEADS if width == LARGE else width // HEAD_WIDTH


def usual_length(shapes: Shapes, prefix: str) -> int | None:
    """The length that most layer norms below a prefix have: they are whole even where a run kept slices of the matrices."""
    lengths = Counter(
        shape[0] for name, shape in shapes.items() if name.startswith(prefix) and name.endswith(".gamma") and len(shape) == 1
    )
    return lengths.most_common(1)[0][0] if lengths else None


def square_side(area: float, problem: str) -> int:
    """The side of a square of so many; raises UnusableForm where there is none."""
    side = math.isqrt(max(int(area), 0))
    if side == 0 or side * side != area:
        raise UnusableForm(problem)
    return side


def slices_of(expected: Shapes, found: Shapes) -> int | None:
    """n, where every tensor of `found` is what is expected but for one axis that is a whole n-th of it; else None."""
    parts = {_part(expected[name], shape) for name, shape in found.items()}
    return parts.pop() if len(parts) == 1 else None


def _part(expected: tuple[int, ...], found: tuple[int, ...]) -> int | None:
    if len(expected) != len(found):
        return None
    other = [(e, f) for e, f in zip(expected, found, strict=True) if e != f]
    if len(other) != 1 or not other[0][1] or other[0][0] % other[0][1]:
        return None
    return other[0][0] // other[0][1]


def block(name: str, width: int, inner: int, in_out: bool = True) -> Shapes:
    """A pre-LN block; `in_out` is the layout of its feed-forward. The attention's projection is square and doesn't tell."""
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
    """Query, key, value and projection."""
    parts = ("dense1", "dense2", "dense3", "projection")
    return {key: shape for part in parts for key, shape in dense(f"{name}{part}", width, width).items()}


def dense(name: str, outputs: int, inputs: int) -> Shapes:
    """A Dense layer."""
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def norm(name: str, width: int) -> Shapes:
    """A layer norm."""
    return {f"{name}.gamma": (width,), f"{name}.beta": (width,)}
