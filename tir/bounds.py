"""Interval analysis: between which values every lane of an integer expression lies.

>>> bounds(i * 16 + j, {i: (0, 7), j: (0, 15)})
(0, 127)

Where the exact result may leave the type it wraps, so that only the type's own range holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .expr import Expr, walk
from .intervals import Interval
from .ops import OPS
from .row import Beyond

Ranges = Mapping[Expr, Interval]


def bounds(root: Expr, ranges: Ranges, known: dict[Expr, Interval] | None = None) -> Interval:
    """The lowest and highest value of an integer or bool ``root``.

    ``ranges`` holds what is known of variables and of any other node (a load); ``known`` keeps
    results between calls that have the same ranges.
    """
    known = {} if known is None else known
    if root in known:
        return known[root]
    for node in walk(root):
        if node not in known and node.type.kind != "f":
            found = ranges.get(node)
            if found is None:
                found = node_bounds(node, [known[arg] for arg in node.args if arg in known])
            known[node] = found
    return known[root]


def node_bounds(node: Expr, given: Sequence[Interval]) -> Interval:
    """The lowest and highest value of an operation on operands in the intervals ``given``."""
    if node.op == "const":
        return int(node.attr), int(node.attr)
    if node.op == "hole":
        return int(node.attr.low), int(node.attr.high)
    op, kind = OPS.get(node.op), node.type
    low, high = kind.low, kind.high
    if op is None or op.interval is None or any([arg.type.kind == "f" for arg in node.args]):
        return low, high
    found = least, most = op.interval(kind, node.attr, given)
    if low <= least and most <= high:
        return found
    if op.beyond is not Beyond.SATURATES:
        return low, high
    return min(max(least, low), high), min(max(most, low), high)
