"""expand: axes of extent 1, and new leading ones, repeated up to a shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..attributes import Shape, broadcast, integers, require
from ..emitting import move_values
from ..errors import Unsupported
from ..graph import Array, Node
from ..lower_move import move_operator
from ..moves import Move, merged, weights_of
from ..spec import Aten, Spec

if TYPE_CHECKING:
    from torch import Tensor

    from ..graph_builder import GraphBuilder, Value


def aten_expand(b: GraphBuilder, self: Value, **_: object) -> Value:
    return self if b.shape(self) == b.result else b.emit("expand", self, shape=b.result)


def aten_repeat(b: GraphBuilder, self: Value, repeats: Sequence[int]) -> Value:
    """Each axis behind one of extent 1 that repeats."""
    shape = (1,) * (len(repeats) - len(b.shape(self))) + b.shape(self)
    if all(times == 1 for times in repeats):
        return b.reshape(self, b.result)
    if min(repeats) < 1:
        raise Unsupported("no times")
    apart = b.reshape(self, tuple(part for extent in shape for part in (1, extent)))
    whole = tuple(part for pair in zip(repeats, shape, strict=True) for part in pair)
    return b.reshape(b.emit("expand", apart, shape=whole), b.result)


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
        aten=(Aten(("expand",), aten_expand), Aten(("repeat",), aten_repeat)),
        meaning=expand,
        quantize=move_values,
        integer=move_operator("expand", evaluate, shape_of, move_of),
        moves=True,
    ),
)
