"""Index algebra: integer expressions as sums of coefficients times atoms, plus a constant.

>>> affine(i * 16 + j - 1)
Affine({i: 16, j: 1}, -1)

Atoms are variables and whatever the sum cannot look into; for an index these are floordiv and mod
by constants. The normal form is exact modulo 2**bits, so it holds for wrapping arithmetic too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from .bounds import Interval, Ranges, bounds
from .expr import Expr, const
from .types import Type


@dataclass(frozen=True, slots=True)
class Affine:
    """``sum(coefficient * atom) + const``; no coefficient is 0."""

    terms: Mapping[Expr, int]
    const: int

    def __add__(self, other: Affine) -> Affine:
        terms = dict(self.terms)
        for atom, coefficient in other.terms.items():
            terms[atom] = terms.get(atom, 0) + coefficient
        return Affine({a: c for a, c in terms.items() if c}, self.const + other.const)

    def __mul__(self, factor: int) -> Affine:
        if factor == 0:
            return Affine({}, 0)
        return Affine({a: c * factor for a, c in self.terms.items()}, self.const * factor)

    def __sub__(self, other: Affine) -> Affine:
        return self + other * -1

    def range(self, ranges: Ranges, known: dict[Expr, Interval] | None = None) -> Interval:
        """Lowest and highest exact value."""
        low = high = self.const
        known = {} if known is None else known
        for atom, coefficient in self.terms.items():
            ends = [coefficient * end for end in bounds(atom, ranges, known)]
            low, high = low + min(ends), high + max(ends)
        return low, high


def affine(expr: Expr) -> Affine | None:
    """The normal form of an index, or None where it holds anything but sums, products with
    constants, and floordiv and mod by constants."""
    form = affine_over(expr)
    return form if all(map(_is_index_atom, form.terms)) else None


@cache
def _is_index_atom(atom: Expr) -> bool:
    if atom.op == "var":
        return True
    divided = atom.op in ("floordiv", "mod") and atom.args[1].is_const
    return divided and affine(atom.args[0]) is not None


@cache
def affine_over(expr: Expr) -> Affine:
    """The normal form where whatever is no sum or product with a constant is an atom."""
    if not expr.type.is_int:
        return Affine({expr: 1}, 0)
    match expr.op:
        case "const":
            return Affine({}, int(expr.attr))
        case "add":
            return affine_over(expr.args[0]) + affine_over(expr.args[1])
        case "sub":
            return affine_over(expr.args[0]) - affine_over(expr.args[1])
        case "mul" if expr.args[1].is_const:
            return affine_over(expr.args[0]) * int(expr.args[1].attr)
        case "mul" if expr.args[0].is_const:
            return affine_over(expr.args[1]) * int(expr.args[0].attr)
        case "shl" if expr.args[1].is_const and 0 <= expr.args[1].attr < expr.type.bits:
            return affine_over(expr.args[0]) * (1 << int(expr.args[1].attr))
    return Affine({expr: 1}, 0)


def from_affine(form: Affine, kind: Type) -> Expr:
    """The canonical expression: large coefficients first, equal ones by text, the constant last."""
    terms = sorted(form.terms.items(), key=lambda term: (-abs(term[1]), -term[1], text(term[0])))
    total: Expr | None = None
    first = next((i for i, (_, c) in enumerate(terms) if c > 0), 0)
    terms.insert(0, terms.pop(first)) if terms else None
    for atom, coefficient in terms:
        if total is not None and coefficient < 0:
            total = total - (atom * -coefficient if coefficient != -1 else atom)
        else:
            part = atom if coefficient == 1 else atom * const(coefficient, kind)
            total = part if total is None else total + part
    if total is None:
        return const(form.const, kind)
    if form.const < 0:
        return total - -form.const
    return total + form.const if form.const else total


@cache
def text(atom: Expr) -> str:
    """A sort key that is the same in every process."""
    from .script.show import show_expr

    return show_expr(atom)
