"""What a node must read: the elements of an input that some element of its output depends on.

A slice leaves elements out, and so do windows that step further than they reach.

>>> reads(Node("slice", ("x",), "y", {"axis": 1, "start": 1, "stop": 8, "step": 3}), [(2, 8)], 0)
6
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from .graph import Node
from .integer_row import Shape, integer, pads, pair


def reads(node: Node, shapes: Sequence[Shape], position: int) -> int:
    """Elements of the input at ``position`` that the node reads; ``shapes`` are the inputs'."""
    shape = shapes[position]
    if node.op == "slice":
        axis = integer(node, "axis")
        kept = len(range(integer(node, "start"), integer(node, "stop"), integer(node, "step")))
        return prod(shape[:axis]) * kept * prod(shape[axis + 1 :])
    if "stride" in node.attrs and position == 0:
        return prod(shape[:2]) * prod(_touched(node, shapes, axis) for axis in (0, 1))
    return prod(shape)


def _touched(node: Node, shapes: Sequence[Shape], axis: int) -> int:
    """Rows (axis 0) or columns (1) of the image that any window holds."""
    size = (pair(node, "kernel") if "kernel" in node.attrs else shapes[1][2:])[axis]
    pace = pair(node, "dilation")[axis] if "dilation" in node.attrs else 1
    (before, after), extent = pads(node)[axis], shapes[0][2 + axis]
    last = extent + before + after - (size - 1) * pace
    starts = range(-before, last - before, pair(node, "stride")[axis])
    return len({start + tap * pace for start in starts for tap in range(size)} & {*range(extent)})
