"""slice: elements start, start + step, ... below stop of an axis; parts of a tensor are slices."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..aten import axis_of, cut
from ..attributes import Shape, integer, require
from ..emitting import move_values
from ..graph import Array, Node
from ..lower_move import move_operator
from ..moves import Move, merged, weights_of
from ..spec import Aten, Spec

if TYPE_CHECKING:
    from torch import Tensor

    from ..graph_builder import GraphBuilder, Value


def aten_slice(
    b: GraphBuilder, self: Value, dim: int, start: int | None, end: int | None, step: int
) -> Value:
    axis = axis_of(b, self, dim)
    first, last, step = builtins.slice(start, end, step).indices(b.shape(self)[axis])
    return cut(b, self, axis, first, last, step)


def aten_select(b: GraphBuilder, self: Value, dim: int, index: int) -> Value:
    axis = axis_of(b, self, dim)
    index %= b.shape(self)[axis]
    return b.reshape(cut(b, self, axis, index, index + 1), b.result)


def aten_split_with_sizes(
    b: GraphBuilder, self: Value, split_sizes: Sequence[int], dim: int
) -> Value:
    axis, start, parts = axis_of(b, self, dim), 0, []
    for size in split_sizes:
        parts.append(cut(b, self, axis, start, start + size))
        start += size
    return tuple(parts)


def aten_split(b: GraphBuilder, self: Value, split_size: int, dim: int) -> Value:
    extent = b.shape(self)[axis_of(b, self, dim)]
    sizes = [min(split_size, extent - at) for at in range(0, extent, split_size)]
    return aten_split_with_sizes(b, self, sizes, dim)


def aten_unbind(b: GraphBuilder, self: Value, dim: int) -> Value:
    axis, shape = axis_of(b, self, dim), b.shape(self)
    left: Shape = shape[:axis] + shape[axis + 1 :]
    parts = [cut(b, self, axis, i, i + 1) for i in range(shape[axis])]
    return tuple(b.reshape(part, left) for part in parts)


def slice(torch: Any, x: Tensor, *, axis: int, start: int, stop: int, step: int) -> Any:
    """Elements start, start + step, ... below stop of ``axis``; 0 <= start < stop <= extent."""
    return x[(*[builtins.slice(None)] * axis, builtins.slice(start, stop, step))]


def _bounds(node: Node) -> tuple[int, int, int, int]:
    axis, start, stop, step = (integer(node, name) for name in ("axis", "start", "stop", "step"))
    return axis, start, stop, step


def evaluate(node: Node, inputs: Sequence[Array]) -> Array:
    axis, start, stop, step = _bounds(node)
    return inputs[0][(builtins.slice(None),) * axis + (builtins.slice(start, stop, step),)]


def shape_of(node: Node, shapes: Sequence[Shape]) -> Shape:
    axis, start, stop, step = _bounds(node)
    inside = 0 <= start <= stop <= shapes[0][axis] and step >= 1
    require(inside, node, "0 <= start <= stop <= size and step >= 1", (start, stop, step))
    return (*shapes[0][:axis], -(-(stop - start) // step), *shapes[0][axis + 1 :])


def move_of(node: Node, shape: Shape) -> Move:
    axis, start, stop, step = _bounds(node)
    extents, strides = list(shape), list(weights_of(shape))
    extents[axis], first = len(range(start, stop, step)), start * strides[axis]
    strides[axis] *= step
    return merged(zip(extents, strides, strict=True), first)


SPECS = (
    Spec(
        "slice",
        aten=(
            Aten(("slice.Tensor",), aten_slice),
            Aten(("select.int",), aten_select),
            Aten(("split_with_sizes",), aten_split_with_sizes),
            Aten(("split.Tensor",), aten_split),
            Aten(("unbind.int",), aten_unbind),
        ),
        meaning=slice,
        quantize=move_values,
        integer=move_operator("slice", evaluate, shape_of, move_of),
        moves=True,
    ),
)
