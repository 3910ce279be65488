"""Operators that no row computes, in steps that HVX has: selection falls back to them.

rounding_shr(x, 9) of i32, which narrowing shifts do not reach    ->    rounding_shr(x >> 1, 8)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..tir.bounds import bounds
from ..tir.expr import Expr, const, make
from ..tir.types import i32, i64


@dataclass(frozen=True, slots=True)
class Expansion:
    """A node of the integer contract written in smaller steps: ``rewrite`` gives None if it does
    not apply. Each function says which steps are equal, and why."""

    op: str
    rewrite: Callable[[Expr], Expr | None]
    early: bool = False  # before its users are known: they may combine with the last step

    @property
    def name(self) -> str:
        return self.rewrite.__name__.lstrip("_")


def _requantize(node: Expr) -> Expr | None:
    """rounding_mul_shr(a, m, s) with s > 31: floors compose, so the product may first be shifted
    by 31: floor((a*m + 2**(s-1)) / 2**s) = rounding_shr(floor(a*m / 2**31), s - 31). The product
    shifted by 31 is vmpye (low half of m, shifted by 16) then vmpyo (high half, by 15 more)."""
    a, m, s = node.args
    fixed = s.is_const and 31 <= s.attr <= 62
    if not fixed or node.type.lanes == 1 or (a.type.element, m.type.element) != (i32, i32):
        return None
    low = Expr("call", node.type, (a, m), "vmpyewuh")
    if s.attr == 31:
        return Expr("call", node.type, (low, a, m), "vmpyowh_rnd_sacc")
    high = Expr("call", node.type, (low, a, m), "vmpyowh_sacc")
    return make("rounding_shr", high, const(s.attr - 31, s.type))


def _left_first(node: Expr) -> Expr | None:
    """With s < 31 the accumulator goes left first, where its bounds leave room for it."""
    a, m, s = node.args
    if not s.is_const or node.type.lanes == 1 or not 0 <= s.attr < 31:
        return None
    by = 31 - int(s.attr)
    low, high = bounds(a, {})
    if low << by < a.type.low or high << by > a.type.high:
        return None
    return make("rounding_mul_shr", a << const(by, a.type), m, const(31, s.type))


def _shift_first(node: Expr) -> Expr | None:
    """rounding_shr(x, s) = rounding_shr(x >> t, s - t): floors compose. Narrowing shifts count to
    one less than the narrow lane's bits."""
    x, s = node.args
    most = node.type.bits // 2 - 1
    if not s.is_const or node.type.lanes == 1 or not most < s.attr < node.type.bits:
        return None
    return make("rounding_shr", x >> const(s.attr - most, x.type), const(most, s.type))


def _round_alone(node: Expr) -> Expr | None:
    """rounding_shr(x, s) = (floor(x / 2**(s-1)) + 1) >> 1, and of s = 1, where the sum could wrap,
    (x >> 1) + (x & 1)."""
    x, s = node.args
    if not s.is_const or not 0 <= s.attr <= x.type.bits:
        return None
    if s.attr == 0:
        return x
    one = const(1, x.type)
    if s.attr == 1:
        return (x >> one) + (x & one)
    return ((x >> const(s.attr - 1, x.type)) + one) >> one


def _wide_scalar(node: Expr) -> Expr | None:
    """The scalar product in 64 bits, rounded and shifted there. Of s = 31 only the square of the
    lowest value saturates, from 32 on nothing does."""
    if node.type != i32:
        return None
    a, m, s = node.args
    if not s.is_const or not 0 <= s.attr <= 62:
        return None
    product = Expr("cast", i64, (a,)) * Expr("cast", i64, (m,))
    rounded = product + const(1 << (int(s.attr) - 1), i64) if s.attr else product
    least = max(bounds(factor, {})[0] for factor in (a, m))
    fits = s.attr > 31 or (s.attr == 31 and least > i32.low)
    return Expr("cast" if fits else "sat_cast", i32, (rounded >> const(s.attr, i64),))


EXPANSIONS = (
    Expansion("rounding_mul_shr", _requantize, early=True),
    Expansion("rounding_mul_shr", _left_first, early=True),
    Expansion("rounding_shr", _shift_first, early=True),
    Expansion("rounding_mul_shr", _wide_scalar),
    Expansion("rounding_shr", _round_alone),
)
