"""Index expressions over loops of known extent: simplification, bounds, digits.

    >>> i, j = var("i"), var("j")
    >>> simplify((i * 32 + j) // 32, {i: 4, j: 32})
    i

A *digit* of ``e`` is ``(e // low) % (high // low)``: splitting, fusing and repacking take an index
apart into digits and put it together again, so that legality is counting digits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import gcd, prod

from ..tir.bounds import bounds as value_bounds
from ..tir.bounds import node_bounds
from ..tir.expr import Expr, const, maximum, minimum, rebuild
from ..tir.intervals import Interval, type_range
from ..tir.linear import Linear, from_linear, joined, linear
from ..tir.quick import quick
from ..tir.types import i32

Extents = Mapping[Expr, int]
UNKNOWN = type_range(i32)


def substitute_axes(expr: Expr, values: Mapping[Expr, Expr], extents: Extents) -> Expr:
    """``expr`` with axes replaced, simplified under the extents of the axes that remain."""
    form = linear(expr)
    if not any(atom.op != "var" or atom in values for atom in form.terms):
        return expr
    total = Linear({}, form.constant)
    for atom, coefficient in form.terms.items():
        total = total.plus(linear(bind(atom, values)), coefficient)
    return simplify(from_linear(total), extents)


def bind(expr: Expr, values: Mapping[Expr, Expr]) -> Expr:
    """``expr`` with variables replaced: ``substitute`` for small trees."""
    found = values.get(expr)
    if found is not None or not expr.args:
        return expr if found is None else found
    return rebuild(expr, tuple([bind(a, values) for a in expr.args]))


def parts_of(axis: Expr, extents: Sequence[int]) -> list[Expr]:
    """The axes of these extents, outermost first, that ``axis`` counts through as one."""
    found, whole = list[Expr](), prod(extents)
    step = whole
    for extent in extents:
        digit = axis if step == whole else axis % step
        step //= extent
        found.append(digit if step == 1 else digit // step)
    return found


def simplify(expr: Expr, extents: Extents) -> Expr:
    """The canonical form of an index: divisions whose result the extents decide are gone."""
    return _plain(expr) or from_linear(simplify_form(linear(expr), extents))


@lru_cache(maxsize=1 << 16)
def _plain(expr: Expr) -> Expr | None:
    """The canonical form of a sum of variables, which no extent changes."""
    form = linear(expr)
    return from_linear(form) if all(atom.op == "var" for atom in form.terms) else None


def simplify_form(form: Linear, extents: Extents) -> Linear:
    if all(atom.op == "var" for atom in form.terms):
        return form
    total = Linear({}, form.constant)
    for atom, coefficient in form.terms.items():
        total = total.plus(_simplify_atom(atom, extents), coefficient)
    return joined(total)


def _simplify_atom(atom: Expr, extents: Extents) -> Linear:
    if atom.op in ("floordiv", "mod") and atom.args[1].is_const:
        inner = simplify_form(linear(atom.args[0]), extents)
        return divide(inner, int(atom.args[1].attr), atom.op, extents)
    if not atom.args or atom.op == "load":
        return Linear({atom: 1}, 0)
    args = tuple(simplify(a, extents) if a.type == i32 else a for a in atom.args)
    low, high = bounds(rebuild(atom, args), extents)
    if low == high:
        return Linear({}, low)
    if atom.op in ("min", "max"):
        return _decided(atom.op, args, extents)
    return Linear({rebuild(atom, args): 1}, 0)


def _decided(op: str, args: tuple[Expr, ...], extents: Extents) -> Linear:
    """min or max where the difference of the operands has one sign."""
    low, high = form_bounds(linear(args[0]).plus(linear(args[1]), -1), extents)
    if high <= 0:
        return linear(args[0 if op == "min" else 1])
    if low >= 0:
        return linear(args[1 if op == "min" else 0])
    return Linear({Expr(op, i32, args): 1}, 0)


def divide(form: Linear, n: int, op: str, extents: Extents) -> Linear:
    """``form // n`` or ``form % n`` for n > 0.

    (n*a + b) // n = a + b//n, and where 0 <= b < g, g | n:  (g*a + b) // n = a // (n/g).
    """
    if n == 1:
        return form if op == "floordiv" else Linear({}, 0)
    quotient, rest = form.divided(n)
    low, high = form_bounds(rest, extents)
    if low // n == high // n:
        step = low // n
        if op == "mod":
            return rest.shifted(-step * n)
        return quotient.shifted(step)
    left = _divide_rest(rest, n, op, extents)
    return left if op == "mod" else quotient.plus(left)


def _divide_rest(rest: Linear, n: int, op: str, extents: Extents) -> Linear:
    for step in sorted({gcd(n, c) for c in rest.terms.values()} - {1}, reverse=True):
        big, small = rest.divided(step)
        low, high = form_bounds(small, extents)
        if low < 0 or high >= step:
            continue
        inner = divide(big, n // step, op, extents)
        return inner if op == "floordiv" else small.plus(inner, step)
    if len(rest.terms) == 1 and not rest.constant:
        (atom, coefficient), *_ = rest.terms.items()
        if coefficient == 1 and op == "floordiv" and atom.op == "floordiv":
            if atom.args[1].is_const:  # (x // a) // n = x // (a*n)
                return divide(linear(atom.args[0]), int(atom.args[1].attr) * n, op, extents)
    return Linear({Expr(op, i32, (from_linear(rest), const(n, i32))): 1}, 0)


def bounds(expr: Expr, extents: Extents) -> Interval:
    """The least and the greatest value of an i32 expression, both included; all values of its type
    where nothing is known."""
    return form_bounds(linear(expr), extents)


def form_bounds(form: Linear, extents: Extents) -> Interval:
    """The least and the greatest value of a sum."""
    low = high = form.constant
    for atom, coefficient in form.terms.items():
        ends = [coefficient * end for end in _atom_bounds(atom, extents)]
        low, high = low + min(ends), high + max(ends)
    return low, high


def _atom_bounds(atom: Expr, extents: Extents) -> Interval:
    if atom in extents:
        return 0, extents[atom] - 1
    given = [bounds(a, extents) if a.type == i32 else value_bounds(a, {}) for a in atom.args]
    return node_bounds(atom, given)


def held(expr: Expr, size: int, extents: Extents) -> Expr:
    """An index within a dimension: beyond it, the nearest place inside."""
    low, high = bounds(expr, extents)
    if high >= size:
        expr = minimum(expr, size - 1)
    return maximum(expr, 0) if low < 0 else expr


@quick
@dataclass(frozen=True, slots=True)
class Digit:
    """``coefficient * ((base // low) % (high // low))``; the topmost digit has no ``%``."""

    coefficient: int
    base: Expr
    low: int
    high: int

    @property
    def extent(self) -> int:
        return -(-self.high // self.low)


def digits_of(expr: Expr, extents: Extents) -> tuple[list[Digit], int] | None:
    """``expr`` as a sum of digits and a constant; None when it is none."""
    form = linear(expr)
    found: list[Digit] = []
    for atom, coefficient in form.terms.items():
        digit = _digit(atom, coefficient, extents)
        if digit is None:
            return None
        found.append(digit)
    return found, form.constant


def _digit(atom: Expr, coefficient: int, extents: Extents) -> Digit | None:
    base, low, high = _slice_of(atom)
    _, top = bounds(base, extents)
    if top >= UNKNOWN[1]:
        return None
    return Digit(coefficient, base, low, top + 1 if high is None else min(high, top + 1))


def _slice_of(expr: Expr) -> tuple[Expr, int, int | None]:
    """``expr`` as (base // low) % (high // low); high is None where nothing is cut off above."""
    if expr.op not in ("floordiv", "mod") or not expr.args[1].is_const:
        return expr, 1, None
    n = int(expr.args[1].attr)
    base, low, high = _slice_of(expr.args[0])
    step = low * n
    if high is not None and high % step:
        return expr, 1, None
    return (base, step, high) if expr.op == "floordiv" else (base, low, step)
