"""What a node must read, and how many products touch data: both leave out what falls into padding.

A slice leaves elements out, and so do windows that step further than they reach; a tap that never
touches the image needs no weights.

>>> reads(Node("slice", ("x",), "y", {"axis": 1, "start": 1, "stop": 8, "step": 3}), [(2, 8)], 0)
6
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from .graph import Node
from .integer_move import ways
from .integer_row import Shape, pads, pair
from .moves import Move


def reads(node: Node, shapes: Sequence[Shape], position: int) -> int:
    """Elements of the input at ``position`` that the node reads; ``shapes`` are the inputs'."""
    shape = shapes[position]
    way = ways(node)[position] if node.op == "cat" else node
    if way and (move := Move.of(way, shape)):
        return move.reads
    if "stride" in node.attrs and position < 2:
        found = slides(node, shapes)
        counts = [len(s.touched()) if position == 0 else s.taps() for s in found]
        return prod(shape[:2]) * prod(counts)
    if node.op in ("lookup", "q_softmax") and position == 1:
        return min(prod(shape), prod(shapes[0]))  # an element looks up one entry at most
    return prod(shape)


@dataclass(frozen=True, slots=True)
class Slide:
    """One axis along which windows of ``size`` taps slide over ``extent`` elements."""

    extent: int
    outputs: int
    size: int
    stride: int
    pace: int  # elements between taps
    before: int  # padding

    def inside(self, tap: int) -> range:
        """The outputs whose ``tap`` touches an element."""
        first = self.before - tap * self.pace  # the padded element that it touches is stride * i
        low = max(-(-first // self.stride), 0)
        return range(low, max(min(-(-(self.extent + first) // self.stride), self.outputs), low))

    def pairs(self) -> int:
        """Outputs and taps that touch an element."""
        return sum(len(self.inside(tap)) for tap in range(self.size))

    def taps(self) -> int:
        """Taps that touch an element at all."""
        return sum(bool(self.inside(tap)) for tap in range(self.size))

    def touched(self) -> set[int]:
        """The elements that any window holds."""
        return {
            at * self.stride + tap * self.pace - self.before
            for tap in range(self.size)
            for at in self.inside(tap)
        }


def slides(node: Node, shapes: Sequence[Shape]) -> list[Slide]:
    """The rows and the columns of a node that has windows."""
    sizes = pair(node, "kernel") if "kernel" in node.attrs else shapes[1][2:]
    paces = pair(node, "dilation") if "dilation" in node.attrs else (1, 1)
    strides, found = pair(node, "stride"), []
    for axis in (0, 1):
        (before, after), extent = pads(node)[axis], shapes[0][2 + axis]
        span = (sizes[axis] - 1) * paces[axis] + 1
        outputs = (extent + before + after - span) // strides[axis] + 1
        found.append(Slide(extent, outputs, sizes[axis], strides[axis], paces[axis], before))
    return found
