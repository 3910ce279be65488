"""Matching the body of one instruction row against an expression.

Types must agree, or differ in a sign that does not matter to the row; a constant may be the
pattern at some constant of its scalar.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from ..tir.arithmetic import Value
from ..tir.bounds import bounds
from ..tir.expr import Expr, cast, const, free_vars, is_number
from ..tir.ops import OPS, with_lanes
from ..tir.rewrite.match import Matcher
from ..tir.row import Lanes
from .instruction import Instruction

LANE_OPS = with_lanes(Lanes.MOVED)


def moves_lanes(node: Expr) -> bool:
    """Whether a value is made of lanes of others, some of them several times."""
    return node.op in LANE_OPS or (node.op == "tile" and node.args[0].type.lanes > 1)


def is_loose(row: Instruction) -> bool:
    """Whether the bits that a row gives do not depend on the signs of its lanes."""
    return bool(row.tags & {"signless", "bits", "lut"})


def _signless(pattern: Expr, node: Expr) -> bool:
    """Whether the bits of ``pattern`` are those of ``node`` whatever the signs of their types."""
    if pattern.op in LANE_OPS:
        return True
    return pattern.op == "cast" and node.args[0].type.kind == "u" and pattern.type.is_int


def _within(node: Expr, mask: Expr) -> bool:
    """Whether a number stays as it is under a mask: 0 <= x <= 2**n - 1 gives x & (2**n - 1) = x."""
    if not (is_number(node) and mask.is_const and mask.attr & (mask.attr + 1) == 0):
        return False
    low, high = bounds(node, {})
    return bool(0 <= low and high <= mask.attr)


class RowMatcher(Matcher):
    """Matches one row's body; ``loose`` ignores the signs of types."""

    def __init__(self, loose: bool) -> None:
        super().__init__()
        self.loose = loose

    def uses(self, inner: Expr) -> int:
        """How many uses of a node the row takes in."""
        return len({edge for edge in self.inside if edge[0] is inner})

    def alike(self, pattern: Expr, node: Expr) -> bool:
        """Types differ in a sign that does not matter."""
        a, b = pattern.type, node.type
        if (a.bits, a.lanes) != (b.bits, b.lanes) or not b.is_int:
            return False
        return (self.loose and a.is_int) or _signless(pattern, node)

    def number(self, pattern: Expr, node: Expr) -> bool:
        """Whether a number is a pattern at some scalar, but for its type, or for bits that are 0
        anyway."""
        if node.op == "const":
            return self._solve(pattern, node)
        if pattern.op == "and_" and _within(node, pattern.args[1]):
            return self.match(pattern.args[0], node)
        if pattern.op != "cast":
            return False
        source = pattern.args[0]
        if pattern.type != node.type:  # a register holds narrow numbers as words
            least, most = bounds(node, {})
            within = pattern.type.low <= least and most <= pattern.type.high
            return node.type == source.type and within and self.match(source, node)
        return source.type.bits >= node.type.bits and self.match(source, cast(source.type, node))

    def _solve(self, pattern: Expr, node: Expr) -> bool:
        """A constant that is the pattern at some constant of its one scalar operand."""
        scalar = self._scalar(pattern, node)
        if scalar is None or node.type.kind == "b":
            return False
        value = const(int(node.attr), scalar.type)
        if self.bound.get(scalar, value) is not value or not _gives(pattern, scalar, value, node):
            return False
        self.bound[scalar] = value
        return True

    def _scalar(self, pattern: Expr, node: Expr) -> Expr | None:
        """The scalar at which the pattern may be a constant."""
        same = pattern.type is node.type or (self.loose and self.alike(pattern, node))
        return _lone_scalar(pattern) if same else None

    def difference(self, pattern: Expr, node: Expr, known: Expr | None) -> str:
        if node.is_const and pattern.op not in ("const", "var"):
            scalar = self._scalar(pattern, node)
            if scalar is not None:
                return f"constant: no {scalar.attr} of {scalar.type} gives {node.attr}"
        return super().difference(pattern, node, known)


@cache
def _lone_scalar(pattern: Expr) -> Expr | None:
    variables = free_vars(pattern)
    if len(variables) != 1:
        return None
    (variable,) = variables
    return variable if variable.type.lanes == 1 and variable.type.is_int else None


@cache
def _gives(pattern: Expr, scalar: Expr, value: Expr, wanted: Expr) -> bool:
    """Whether the pattern is ``wanted`` in every lane where its scalar is ``value``."""

    def evaluate(node: Expr) -> Value:
        if node is scalar:
            node = value
        if node.op == "const":
            return np.full(node.type.lanes, node.attr, node.type.numpy)
        return OPS[node.op].value(node.type, node.attr, *(evaluate(arg) for arg in node.args))

    return bool((evaluate(pattern) == wanted.attr).all())
