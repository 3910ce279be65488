"""permute: axis i of the result is axis ``axes[i]`` of x."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..aten import axis_of
from ..attributes import Shape, integers, require
from ..emitting import move_values
from ..graph import Array, Node
from ..lower_move import move_operator
from ..moves import Move, merged, weights_of
from ..spec import Aten, Spec

if TYPE_CHECKING:
    from torch import Tensor

    from ..graph_builder import GraphBuilder, Value


def aten_permute(b: GraphBuilder, self: Value, dims: Sequence[int]) -> Value:
    axes = tuple(axis_of(b, self, d) for d in dims)
    return self if axes == tuple(range(len(axes))) else b.emit("permute", self, axes=axes)


def aten_transpose(b: GraphBuilder, self: Value, dim0: int, dim1: int) -> Value:
    axes = list(range(len(b.shape(self))))
    first, second = axis_of(b, self, dim0), axis_of(b, self, dim1)
    axes[first], axes[second] = second, first
    return aten_permute(b, self, axes)


def aten_t(b: GraphBuilder, self: Value) -> Value:
    return aten_permute(b, self, list(reversed(range(len(b.shape(self))))))


def permute(torch: Any, x: Tensor, *, axes: tuple[int, ...]) -> Any:
    """Axis i of the result is axis ``axes[i]`` of x."""
    return x.permute(axes)


def evaluate(node: Node, inputs: Sequence[Array]) -> Array:
    return np.ascontiguousarray(inputs[0].transpose(integers(node, "axes")))


def shape_of(node: Node, shapes: Sequence[Shape]) -> Shape:
    axes = integers(node, "axes")
    require(sorted(axes) == list(range(len(shapes[0]))), node, "axes is a permutation", axes)
    return tuple(shapes[0][axis] for axis in axes)


def move_of(node: Node, shape: Shape) -> Move:
    axes, weights = integers(node, "axes"), weights_of(shape)
    return merged((shape[axis], weights[axis]) for axis in axes)


SPECS = (
    Spec(
        "permute",
        aten=(
            Aten(("permute",), aten_permute),
            Aten(("transpose.int",), aten_transpose),
            Aten(("t",), aten_t),
        ),
        meaning=permute,
        quantize=move_values,
        integer=move_operator("permute", evaluate, shape_of, move_of),
        moves=True,
        axis_after=lambda node, before, after, axis: integers(node, "axes").index(axis),
    ),
)
