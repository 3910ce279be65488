"""reshape: the same elements in row-major order under another shape."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from ..attributes import Shape, integers, require
from ..emitting import move_values
from ..graph import Array, Node
from ..lower_move import move_operator
from ..moves import Move, merged
from ..spec import Aten, Spec

if TYPE_CHECKING:
    from torch import Tensor

    from ..graph_builder import GraphBuilder, Value


def aten_reshape(b: GraphBuilder, self: Value, **_: object) -> Value:
    return b.reshape(self, b.result)


def reshape(torch: Any, x: Tensor, *, shape: tuple[int, ...]) -> Any:
    """The same elements in row-major order under another shape."""
    return x.reshape(shape)


def axis_after(node: Node, before: Shape, after: Shape, axis: int) -> int | None:
    """The axis of its extent behind as many elements, if there is one."""
    outer = prod(before[:axis])
    kept = [a for a, n in enumerate(after) if n == before[axis] and prod(after[:a]) == outer]
    return kept[0] if kept else None


def evaluate(node: Node, inputs: Sequence[Array]) -> Array:
    return inputs[0].reshape(integers(node, "shape"))


def shape_of(node: Node, shapes: Sequence[Shape]) -> Shape:
    shape = integers(node, "shape")
    same = np.prod(shape, dtype=np.int64) == np.prod(shapes[0], dtype=np.int64)
    require(bool(same), node, "the number of values must stay", (shapes[0], shape))
    return shape


def move_of(node: Node, shape: Shape) -> Move:
    return merged([(prod(shape), 1)])


SPECS = (
    Spec(
        "reshape",
        aten=(
            Aten(
                ("view", "reshape", "_unsafe_view", "unsqueeze", "squeeze", "flatten", "unflatten"),
                aten_reshape,
            ),
        ),
        meaning=reshape,
        quantize=move_values,
        integer=move_operator("reshape", evaluate, shape_of, move_of),
        reshapes=True,
        moves=True,
        axis_after=axis_after,
    ),
)
