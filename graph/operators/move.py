"""move: what several moves compose to (``graph/compose.py``); an integer operator alone.

move(x u8) shape extents strides offset:  digits of radix ``extents``, as in ``graph/moves.py``
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from ..attributes import Shape, integer, integers, require
from ..graph import Array, Node
from ..lower_move import move_operator
from ..moves import Move, merged
from ..spec import Spec


def move_of(node: Node, shape: Shape) -> Move:
    pairs = zip(integers(node, "extents"), integers(node, "strides"), strict=True)
    return merged(pairs, integer(node, "offset"))


def evaluate(node: Node, inputs: Sequence[Array]) -> Array:
    made = move_of(node, inputs[0].shape).apply(inputs[0])
    return np.ascontiguousarray(made).reshape(integers(node, "shape"))


def shape_of(node: Node, shapes: Sequence[Shape]) -> Shape:
    extents, strides, shape = (integers(node, name) for name in ("extents", "strides", "shape"))
    require(len(extents) == len(strides), node, "each digit has a stride", strides)
    forward = min((*extents, 1)) > 0 and min((*strides, integer(node, "offset"))) >= 0
    require(forward, node, "digits have values, and none steps back", (extents, strides))
    require(prod(extents) == prod(shape), node, "the digits number the values", (extents, shape))
    last = move_of(node, shapes[0]).last
    require(last < prod(shapes[0]), node, "all elements read are there", last)
    return shape


SPECS = (Spec("move", integer=move_operator("move", evaluate, shape_of, move_of)),)
