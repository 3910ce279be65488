"""Matching the body of one instruction row against an expression.

Types must agree, or differ in a sign that does not matter to the row; operands of a commutative
operator are tried in both orders; a constant may be the pattern at some constant of its scalar.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from ..tir.arithmetic import Value
from ..tir.bounds import bounds
from ..tir.expr import Expr, cast, const, free_vars, is_number
from ..tir.ops import OPS, with_lanes
from ..tir.row import Lanes
from ..tir.types import Type
from .instruction import Instruction
from .selection_record import Notes

Bindings = dict[str, Expr]


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


class Matcher:
    """Matches one row's body against a node; ``loose`` ignores the signs of types.

    ``inside`` has the nodes that the row takes in, with the (user, place) pairs seen there.
    """

    def __init__(self, loose: bool) -> None:
        self.loose = loose
        self.bindings: Bindings = {}
        self.inside: dict[Expr, set[tuple[Expr, int]]] = {}

    def match(self, pattern: Expr, node: Expr) -> bool:
        if pattern.op == "var":
            return self._bind(pattern, node)
        if node.op == "const" and pattern.op != "const":
            return self._solve(pattern, node)
        if is_number(node) and self._number(pattern, node):
            return True
        if pattern.op != node.op or not self._alike(pattern, node):
            return False
        if pattern.attr != node.attr or len(pattern.args) != len(node.args):
            return False
        if len(node.args) != 2 or not OPS[node.op].commutes:
            return self._all(pattern.args, node)
        saved = dict(self.bindings), {k: set(v) for k, v in self.inside.items()}
        if self._all(pattern.args, node):
            return True
        self.bindings, self.inside = saved
        return self._all(pattern.args[::-1], node)

    def _number(self, pattern: Expr, node: Expr) -> bool:
        """Whether a number is a pattern but for its type, or for bits that are 0 anyway."""
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

    def _all(self, patterns: tuple[Expr, ...], node: Expr) -> bool:
        for place, (pattern, arg) in enumerate(zip(patterns, node.args, strict=True)):
            if not self.match(pattern, arg):
                return False
            if pattern.op != "var" and arg.args:
                self.inside.setdefault(arg, set()).add((node, place))
        return True

    def _same(self, a: Type, b: Type) -> bool:
        if a is b:
            return True
        return self.loose and a.is_int and b.is_int and (a.bits, a.lanes) == (b.bits, b.lanes)

    def _alike(self, pattern: Expr, node: Expr) -> bool:
        """Types agree, or differ in a sign that does not matter."""
        a, b = pattern.type, node.type
        return (
            a is b
            or self._same(a, b)
            or ((a.bits, a.lanes) == (b.bits, b.lanes) and b.is_int and _signless(pattern, node))
        )

    def _bind(self, pattern: Expr, node: Expr) -> bool:
        if pattern.type is not node.type and not self._same(pattern.type, node.type):
            return False
        return self.bindings.setdefault(str(pattern.attr), node) is node

    def _solve(self, pattern: Expr, node: Expr) -> bool:
        """A constant that is the pattern at some constant of its one scalar operand."""
        if not self._same(pattern.type, node.type) or node.type.kind == "b":
            return False
        scalar = _lone_scalar(pattern)
        if scalar is None:
            return False
        name = str(scalar.attr)
        value = const(int(node.attr), scalar.type)
        if self.bindings.get(name, value) is not value or not _gives(pattern, scalar, value, node):
            return False
        self.bindings[name] = value
        return True


class Noting(Matcher):
    """A matcher that says what failed first, on the way that came furthest."""

    def __init__(self, loose: bool, notes: Notes) -> None:
        super().__init__(loose)
        self.notes = notes

    def match(self, pattern: Expr, node: Expr) -> bool:
        failures = self.notes.failures
        if super().match(pattern, node):
            return True
        if self.notes.failures == failures:  # nothing below has failed: it is this node
            self.notes.fail(self._difference(pattern, node))
        return False

    def _all(self, patterns: tuple[Expr, ...], node: Expr) -> bool:
        """Comes where the node itself agrees."""
        met = self.notes.now
        self.notes.now += 1
        if super()._all(patterns, node):
            return True
        self.notes.now = met
        return False

    def _difference(self, pattern: Expr, node: Expr) -> str:
        if pattern.op == "var" and self._same(pattern.type, node.type):
            return f"operand: {pattern.attr} must be the same value each time"
        scalar = _lone_scalar(pattern) if node.op == "const" and pattern.op != "const" else None
        if scalar is not None and self._same(pattern.type, node.type):
            return f"constant: no {scalar.attr} of {scalar.type} gives {node.attr}"
        if pattern.op not in (node.op, "var"):
            return f"operator: {pattern.op} is needed, but got {node.op}"
        if not self._alike(pattern, node):
            return f"type: {pattern.type} is needed, but got {node.type}"
        kind = "constant" if pattern.op == "const" else "lanes"
        return f"{kind}: {pattern.attr} is needed, but got {node.attr}"


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
