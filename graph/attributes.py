"""Typed readers of a node's attributes, and the rules that attributes and shapes must obey."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from .graph import Node, Requant

Shape = tuple[int, ...]
Pair = tuple[int, int]
Pads = tuple[Pair, Pair]  # ((top, bottom), (left, right))


class GraphError(ValueError):
    """A node breaks its operator's rule; the text names the node, the rule and what came."""


def integer(node: Node, name: str) -> int:
    return cast(int, node.attrs[name])


def integers(node: Node, name: str) -> tuple[int, ...]:
    return tuple(cast(Sequence[int], node.attrs[name]))


def pair(node: Node, name: str) -> tuple[int, int]:
    first, second = cast(Sequence[int], node.attrs[name])
    return first, second


def pads(node: Node, name: str = "padding") -> Pads:
    """((top, bottom), (left, right))."""
    (top, bottom), (left, right) = cast(Sequence[Sequence[int]], node.attrs[name])
    return (top, bottom), (left, right)


def requant_of(node: Node) -> Requant:
    return cast(Requant, node.attrs["requant"])


def require(holds: bool, node: Node, rule: str, came: object) -> None:
    """Raise one sentence unless the rule holds."""
    if not holds:
        raise GraphError(f"{node.op} {node.output}: {rule}, but got {came}")


def window_shape(node: Node, size: Shape, kernel: Shape, dilation: Shape) -> Shape:
    """Output height and width of a window that slides over ``size`` with the node's padding."""
    stride, padding = pair(node, "stride"), pads(node)
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    padded = [n + sum(p) for n, p in zip(size, padding, strict=True)]
    fits = all(s <= n for s, n in zip(spans, padded, strict=True))
    require(fits, node, "the window must fit into the padded input", (spans, padded))
    return tuple((n - s) // t + 1 for n, s, t in zip(padded, spans, stride, strict=True))


def broadcast(node: Node, shapes: Sequence[Shape]) -> Shape:
    """The common shape of operands that broadcast together."""
    rank = max(map(len, shapes))
    aligned = [(1,) * (rank - len(shape)) + tuple(shape) for shape in shapes]
    sizes = [{n for n in column if n != 1} for column in zip(*aligned, strict=True)]
    require(all(len(s) <= 1 for s in sizes), node, "the shapes must broadcast", tuple(shapes))
    return tuple(s.pop() if s else 1 for s in sizes)
