"""Nodes that become one kernel: an operator, and what works element by element on its results.

    y = q_add(a, b)
    z = q_mul(y, c)                  ->      z = fused(a, b, c)              the same bytes

    y = q_conv2d(x, w, bias)
    z = q_add(y, r)                  ->      z = fused(x, w, bias, r)        rounded once

A sum of products takes in what is added to it where the recipe lets both be rounded at once: then
nothing is rounded, and saturates, between. Rounded apart it would cost more than it saves, for
multipliers are what such kernels wait for. ``apart(graph, recipe)`` says of each node that could be
part of another one why it is not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..options.registry import Registry
from ..tir.places import ALIGN
from .attributes import integer, requant_of
from .borders import stored_shape
from .graph import Graph, Node, Requant
from .integer import integer_of
from .lower_dot import reach
from .operators.add import Q_ADD, Q_ADD_WIDE
from .operators.group import grouped, nodes_of
from .physical import physical
from .requantize import WIDE

RESIDUALS = Registry[bool]()  # whether a sum of products and what is added are rounded once
RESIDUALS.row("once", "with the sum of products before it")(True)
RESIDUALS.row("twice", "after that was rounded, too")(False)

# Bits behind the point of sums that are rounded once: what is added is off by 1/30 of a step at the
# most (255 / 2**13); a narrowing shift takes up to 15.
_LEAST, _MOST = 12, 15
_LIMIT = 30  # bits of sums of products, so that what is added fits i32


def fuse(graph: Graph, once: bool) -> Graph:
    """The graph in which nodes are groups where they can be; ``once``: residuals are rounded with
    the sums to which they are added."""
    changed = graph.without_nodes()
    joins = _Joins(graph, {}, graph.read_counts(), once)
    for node in graph.nodes:
        names = [name for name in node.inputs if not joins.refusal(node, name)]
        if names:
            before = joins.made[next(name for name in reversed(joins.made) if name in names)]
            changed.nodes.remove(before)
            node = _joined(changed, before, node)
        changed.nodes.append(node)
        joins.made[node.output] = node
    return changed


def apart(graph: Graph, once: bool) -> dict[str, str]:
    """Of each node that works element by element, by its output, why it is a kernel by itself."""
    joins = _Joins(graph, {node.output: node for node in graph.nodes}, graph.read_counts(), once)
    firsts = ((whole.output, nodes_of(whole)[0]) for whole in graph.nodes)
    return {
        output: "; ".join(joins.refusal(node, name) for name in dict.fromkeys(node.inputs))
        for output, node in firsts
        if integer_of(node).point is not None
    }


@dataclass(frozen=True, slots=True)
class _Joins:
    """What nodes may join: ``made`` are those so far by their outputs."""

    graph: Graph
    made: dict[str, Node]
    reads: Mapping[str, int]
    once: bool

    def refusal(self, node: Node, name: str) -> str:
        """Why a node is not part of the one that makes an operand; "" if it can be."""
        if integer_of(node).point is None:
            return f"{node.op} does not work element by element"
        before = self.made.get(name)
        if before is None:
            return f"{name} is no result of a kernel"
        first = integer_of(nodes_of(before)[0])
        if not first.anchors:
            return f"{before.op} stores {name} in an order of its own"
        if self.reads[name] > 1:
            return f"{name} has more than one reader"
        shapes = {self.graph.types[other].shape for other in (*node.inputs, node.output)}
        if len(shapes) > 1 or len({*map(self._stored, (*node.inputs, node.output))}) > 1:
            return f"{name} and the other operand do not lie alike"
        if _unrounded(before):
            return self._rounded(before, node, name)
        return ""

    def _rounded(self, sums: Node, node: Node, name: str) -> str:
        """Why sums of products are rounded before another node works on them."""
        if node.op != Q_ADD.name:
            return f"{node.op} works on {name} as it is rounded"
        if self._stored(name)[-1] < ALIGN // 4:
            return f"sums of so few channels lie along the pixels of {name}, not along channels"
        if not self.once:
            return f"{name} and the sum are rounded one after another, as the recipe says"
        requant = requant_of(sums)
        if requant.clamped:
            return f"{name} is clamped before the sum"
        if requant.mode != "single":
            return f"{name} is rescaled by mode {requant.mode!r}"
        if any(other not in self.graph.constants for other in sums.inputs[1:]):
            return f"the weights of {name} are computed"
        if _wide(self.graph, sums, node) is None:
            return f"{name} has too few bits to be rounded once"
        return ""

    def _stored(self, name: str) -> tuple[int, ...]:
        return physical(stored_shape(self.graph, name))


def _unrounded(node: Node) -> bool:
    """Whether a node is a sum of products alone, which may be rounded later."""
    return len(nodes_of(node)) == 1 and integer_of(node).point is None


def _joined(graph: Graph, before: Node, node: Node) -> Node:
    """A node and one that works on its results as one."""
    if _unrounded(before):
        wide = _wide(graph, before, node)
        assert wide is not None
        graph.types[before.output] = replace(graph.types[before.output], element="i32", affine=None)
        return grouped(wide)
    return grouped([*nodes_of(before), node])


def _wide(graph: Graph, sums: Node, node: Node) -> tuple[Node, Node] | None:
    """Sums of products in steps of 2**-bits, and what adds the other operand and rounds both; None
    where there are too few bits, or where sums might not fit.

    y = (acc * m >> s) - zero, z = (y * a + (r - r_zero) * b) >> t    becomes, with as many bits,
    z = ((acc << left) * M >> 31) + (r - r_zero) * B >> bits, B = b * 2**(bits - t) and
    M = m * a * 2**(31 + bits - left - s - t)
    """
    requant, shift = requant_of(sums), integer(node, "shift")
    own, other = ("a", "b") if node.inputs[0] == sums.output else ("b", "a")
    factor, added = (integer(node, f"{side}_mult") for side in (own, other))
    largest = max(requant.multiplier) * factor
    if largest <= 0 or node.inputs[0] == node.inputs[1]:
        return None
    have = _bits(math.ldexp(largest, requant.left - requant.shift - shift))
    left = max(_LEAST - have, 0)
    bits = min(have + left, _bits(math.ldexp(abs(added), -shift)) + 15, _MOST)
    weight, bias = (graph.constants[name] for name in sums.inputs[1:3])
    if bits < _LEAST or reach(weight, bias, integer(sums, "x_zero")).bit_length() + left > _LIMIT:
        return None
    by = 31 + bits - left + requant.left - requant.shift - shift
    multiplier = tuple(round(math.ldexp(m * factor, by)) for m in requant.multiplier)
    limit = (1 << 31) - 1, (1 << 15) - 1
    wide = Requant(tuple(min(m, limit[0]) for m in multiplier), 31, 0, mode=WIDE, left=left)
    amount = min(max(round(math.ldexp(added, bits - shift)), -limit[1]), limit[1])
    attrs = {name: node.attrs[name] for name in ("zero_point", "low", "high")}
    attrs |= {"b_zero": node.attrs[f"{other}_zero"], "b_mult": amount, "shift": bits}
    reads = sums.output, node.inputs["ab".index(other)]
    return (
        replace(sums, attrs={**sums.attrs, "requant": wide}),
        replace(node, op=Q_ADD_WIDE.name, inputs=reads, attrs=attrs),
    )


def _bits(scale: float) -> int:
    """By how many bits a number may be shifted and stay below 1."""
    return -math.frexp(scale)[1] if scale else _MOST
