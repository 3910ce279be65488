"""Windows that slide over an image: what they touch, and what falls into padding.

Windows that step further than they reach leave elements out; a tap that never touches the image
needs no weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from .attributes import Shape, pads, pair
from .graph import Node


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


def reads_windows(node: Node, shapes: Sequence[Shape], position: int) -> int:
    """The elements of an image that any window of the node holds."""
    return prod(shapes[0][:2]) * prod(len(slide.touched()) for slide in slides(node, shapes))
