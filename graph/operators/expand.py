"""expand: axes of extent 1, and new leading ones, repeated up to a shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..attributes import Shape, broadcast, integers, require
from ..emitting import move_values
from ..graph import Array, Node
from ..lower_move import move_operator
from ..moves import Move, merged, weights_of
from ..spec import Aten, Spec

if TYPE_CHECKING:
    from torch import Tensor

    from ..graph_builder import GraphBuilder, Value


def aten_expand(b: GraphBuilder, self: Value, **_: object) -> Value:
    return self if b.shape(self) == b.result else b.emit("expand", self, shape=b.result)


def expand(torch: Any, x: Tensor, *, shape: tuple[int, ...]) -> Any:
    """Axes of extent 1, and new leading ones, repeated up to ``shape``."""
    return x.expand(shape)


def evaluate(node: Node, inputs: Sequence[Array]) -> Array:
    return np.ascontiguousarray(np.broadcast_to(inputs[0], integers(node, "shape")))


def shape_of(node: Node, shapes: Sequence[Shape]) -> Shape:
    shape = integers(node, "shape")
    require(broadcast(node, (shapes[0], shape)) == shape, node, "only axes of 1 repeat", shape)
    return shape


def move_of(node: Node, shape: Shape) -> Move:
    wanted = integers(node, "shape")
    pairs = zip(reversed(shape), reversed(weights_of(shape)), strict=True)
    strides = [weight if extent != 1 else 0 for extent, weight in pairs]
    strides += [0] * (len(wanted) - len(shape))
    return merged(zip(wanted, reversed(strides), strict=True))


SPECS = (
    Spec(
        "expand",
        aten=(Aten(("expand",), aten_expand),),
        meaning=expand,
        quantize=move_values,
        integer=move_operator("expand", evaluate, shape_of, move_of),
        moves=True,
    ),
)
