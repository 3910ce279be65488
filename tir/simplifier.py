"""Simplifies expressions: constants folded, sums in canonical order, div, mod and clamps decided.

    (f // 16) * 64 + (f % 16) * 4      ->  f * 4
    (i * 8 + j) // 8     (0 <= j < 8)  ->  i
    max(min(x, 300), 0)  (x: u8 cast)  ->  x

Scalar index arithmetic (no loads) becomes a canonical sum; in data expressions only what a rule
names changes, so that the shapes that combining looks for stay.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import gcd

import numpy as np

from .bounds import Ranges, bounds
from .expr import Expr, cast, const, make, rebuild
from .intervals import Interval, type_range
from .linear import Linear, from_sum, sum_of
from .ops import OPS
from .recent import Recent
from .types import i32

SUMS = {"add", "sub", "mul", "floordiv", "mod", "shl"}
INDEX_OPS = SUMS | {"const", "var", "min", "max"}

_fixed = Recent[Expr](1 << 15)  # expressions, by the ranges of the variables that they mention


def simplify(expr: Expr, ranges: Ranges | None = None) -> Expr:
    """An expression of equal value wherever the variables lie in ``ranges``."""
    return Simplifier(ranges or {})(expr)


class Simplifier:
    """Simplifies under fixed ranges and keeps what it found; one for each set of ranges."""

    __slots__ = ("done", "index", "known", "ranges")

    def __init__(self, ranges: Ranges) -> None:
        self.ranges = ranges
        self.known: dict[Expr, Interval] = {}
        self.done: dict[Expr, Expr] = {}
        self.index: dict[Expr, bool] = {}

    def __call__(self, root: Expr) -> Expr:
        if not root.args:
            return root
        found = self.done.get(root)
        if found is None:
            given = root, tuple([self.ranges.get(axis) for axis in root.free])
            found = self.done[root] = _fixed(given, lambda: self._simplified(root))
        return found

    def _simplified(self, root: Expr) -> Expr:
        return self._fixed(rebuild(root, tuple([self(arg) for arg in root.args])))

    def bounds(self, expr: Expr) -> Interval:
        return bounds(expr, self.ranges, self.known)

    def _fixed(self, node: Expr) -> Expr:
        """``node``, whose operands are simple, rewritten until nothing changes."""
        for _ in range(16):
            before, node = node, self._step(node)
            if node is before:
                break
        return node

    def _step(self, node: Expr) -> Expr:
        if not node.args or node.op in ("load", "call"):
            return node
        if all(arg.is_const for arg in node.args):
            return fold(node)
        if node.op in SUMS and self._is_index(node):
            return self._index_sum(node)
        rule = LOCAL.get(node.op)
        fresh = rule(self, node) if rule else node
        if fresh is node and node.type.kind != "f":
            low, high = self.bounds(node)
            return const(low, node.type) if low == high else node
        return fresh

    def _is_index(self, node: Expr) -> bool:
        """A scalar i32 over variables and constants only."""
        found = self.index.get(node)
        if found is None:
            inside = node.op in INDEX_OPS and node.type == i32
            found = self.index[node] = inside and all(self._is_index(arg) for arg in node.args)
        return found

    # Sums ---------------------------------------------------------------------------------

    def _index_sum(self, node: Expr) -> Expr:
        if node.op in ("floordiv", "mod"):
            divisor = node.args[1]
            if not divisor.is_const or divisor.attr <= 0:
                return node
            return (self._floordiv if node.op == "floordiv" else self._mod)(node, divisor.attr)
        form = self._recombined(sum_of(node))
        return from_sum(form, i32)

    def _recombined(self, form: Linear) -> Linear:
        """``(a // c) * (p * c) + (a % c) * p`` put together as ``a * p``."""
        for atom, coefficient in form.terms.items():
            if atom.op != "mod" or not atom.args[1].is_const:
                continue
            divided = self._fixed(make("floordiv", *atom.args))
            if form.terms.get(divided) == coefficient * atom.args[1].attr:
                terms = {a: c for a, c in form.terms.items() if a not in (atom, divided)}
                whole = Linear(terms, form.constant).plus(sum_of(atom.args[0]), coefficient)
                return self._recombined(whole)
        return form

    def _exact(self, form: Linear) -> bool:
        """No sum of the form can wrap."""
        low, high = form.range(self.ranges, self.known)
        return i32.low <= low and high <= i32.high

    def _floordiv(self, node: Expr, divisor: int) -> Expr:
        inner = node.args[0]
        form = sum_of(inner)
        if divisor == 1:
            return inner
        if not self._exact(form):
            return node
        quotient, rest = form.divided(divisor)
        low, high = rest.range(self.ranges, self.known)
        if low // divisor == high // divisor:  # rest // divisor is one number
            return from_sum(quotient.shifted(low // divisor), i32)
        if quotient.terms or quotient.constant:
            left = self._fixed(make("floordiv", from_sum(rest, i32), node.args[1]))
            return from_sum(quotient.plus(sum_of(left)), i32)
        common = gcd(divisor, *rest.terms.values())
        if common > 1:
            reduced, _ = rest.divided(common)
            return make("floordiv", from_sum(reduced, i32), const(divisor // common, i32))
        if inner.op == "floordiv" and inner.args[1].is_const and inner.args[1].attr > 0:
            whole = inner.args[1].attr * divisor
            if whole <= i32.high:
                return make("floordiv", inner.args[0], const(whole, i32))
        return node

    def _mod(self, node: Expr, divisor: int) -> Expr:
        inner = node.args[0]
        form = sum_of(inner)
        if not self._exact(form):
            return node
        quotient, rest = form.divided(divisor)
        low, high = rest.range(self.ranges, self.known)
        if low // divisor == high // divisor:
            return from_sum(rest.shifted(-(low // divisor) * divisor), i32)
        if quotient.terms or quotient.constant:
            return self._fixed(make("mod", from_sum(rest, i32), node.args[1]))
        common = gcd(divisor, *rest.terms.values())
        if common > 1:
            reduced, _ = rest.divided(common)
            left = make("mod", from_sum(reduced, i32), const(divisor // common, i32))
            return left * common + rest.constant % common
        return node


def fold(node: Expr) -> Expr:
    """``node`` over constants as a constant, by its op's meaning; as it is where lanes differ."""
    op = OPS[node.op]
    if op.meaning is None or (node.op in ("floordiv", "mod") and node.args[1].attr == 0):
        return node
    values = [np.full(arg.type.lanes, arg.attr, arg.type.numpy) for arg in node.args]
    with np.errstate(all="ignore"):
        lanes = op.value(node.type, node.attr, *values)
    if lanes.dtype.kind == "f" or not (lanes == lanes[0]).all():
        return node
    return const(lanes[0].item(), node.type)


# Local rules --------------------------------------------------------------------------------


def _is(node: Expr, value: int) -> bool:
    return node.is_const and node.type.is_int and node.attr == value


def _add(_: Simplifier, node: Expr) -> Expr:
    a, b = node.args
    if a.is_const and not b.is_const and a.type.is_int:
        return make("add", b, a)
    if _is(b, 0):
        return a
    if b.is_const and a.op == "add" and a.args[1].is_const and b.type.is_int:
        return make("add", a.args[0], fold(make("add", a.args[1], b)))
    return node


def _sub(_: Simplifier, node: Expr) -> Expr:
    a, b = node.args
    if _is(b, 0):
        return a
    return const(0, node.type) if a is b and node.type.is_int else node


def _mul(_: Simplifier, node: Expr) -> Expr:
    a, b = node.args
    if a.is_const and not b.is_const and a.type.is_int:
        return make("mul", b, a)
    if _is(b, 1):
        return a
    return b if _is(b, 0) else node


def _div(_: Simplifier, node: Expr) -> Expr:
    return node.args[0] if _is(node.args[1], 1) else node


def _shift(_: Simplifier, node: Expr) -> Expr:
    return node.args[0] if _is(node.args[1], 0) else node


def _min(simple: Simplifier, node: Expr) -> Expr:
    a, b = node.args
    if a is b or a.type.kind == "f":
        return a if a is b else node
    (low, high), (least, most) = simple.bounds(a), simple.bounds(b)
    if high <= least:
        return a
    return b if most <= low else node


def _max(simple: Simplifier, node: Expr) -> Expr:
    a, b = node.args
    if a is b or a.type.kind == "f":
        return a if a is b else node
    (low, high), (least, most) = simple.bounds(a), simple.bounds(b)
    if low >= most:
        return a
    return b if least >= high else node


def _compare(simple: Simplifier, node: Expr) -> Expr:
    """Decided by the bounds of the difference, where neither side wraps."""
    a, b = node.args
    if a.type != i32 or not (simple._is_index(a) and simple._is_index(b)):
        return node
    left, right = sum_of(a), sum_of(b)
    if not (simple._exact(left) and simple._exact(right)):
        return node
    low, high = left.plus(right, -1).range(simple.ranges, simple.known)
    always, never = COMPARED[node.op](low, high)
    return const(always, node.type) if always or never else node


COMPARED: dict[str, Callable[[int, int], tuple[bool, bool]]] = {
    "eq": lambda low, high: (low == high == 0, low > 0 or high < 0),
    "lt": lambda low, high: (high < 0, low >= 0),
    "le": lambda low, high: (high <= 0, low > 0),
}


def _logic(_: Simplifier, node: Expr) -> Expr:
    a, b = node.args
    if a is b:
        return a if node.op != "xor" else const(0, node.type)
    if node.type.kind != "b":
        return node
    for one, other in ((a, b), (b, a)):
        if one.is_const and node.op == "and_":
            return other if one.attr else one
        if one.is_const and node.op == "or_":
            return one if one.attr else other
    return node


def _select(_: Simplifier, node: Expr) -> Expr:
    condition, yes, no = node.args
    if condition.is_const:
        return yes if condition.attr else no
    return yes if yes is no else node


def _cast(simple: Simplifier, node: Expr) -> Expr:
    """A cast of a cast, where the inner one loses nothing."""
    inner = node.args[0]
    if inner.op != "cast" or "f" in (node.type.kind, inner.type.kind, inner.args[0].type.kind):
        return node
    first = inner.args[0]
    low, high = simple.bounds(first)
    kept = type_range(inner.type)
    if first.type.kind != "b" and kept[0] <= low and high <= kept[1]:
        return cast(node.type.element, first)
    return node


def _sat_cast(simple: Simplifier, node: Expr) -> Expr:
    """A cast of a value that fits."""
    inner = node.args[0]
    if inner.type.kind == "f" or node.type.kind == "f":
        return node
    low, high = simple.bounds(inner)
    if node.type.low <= low and high <= node.type.high:
        return cast(node.type.element, inner)
    return node


LOCAL: Mapping[str, Callable[[Simplifier, Expr], Expr]] = {
    "add": _add, "sub": _sub, "mul": _mul, "floordiv": _div, "shl": _shift, "shr": _shift,
    "rounding_shr": _shift, "min": _min, "max": _max, "eq": _compare, "lt": _compare,
    "le": _compare, "and_": _logic, "or_": _logic, "xor": _logic, "select": _select,
    "cast": _cast, "sat_cast": _sat_cast,
}  # fmt: skip


# Statements ---------------------------------------------------------------------------------
