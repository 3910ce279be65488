"""Vectors divided by numbers, as products and shifts: no machine divides them.

x // 9 for 0 <= x <= 32767    ->    x * 29128 >> 18

The multipliers are those of Granlund and Montgomery, Division by Invariant Integers using
Multiplication (1994).
"""

from __future__ import annotations

from ...tir.bounds import bounds
from ...tir.expr import Expr, const, make
from ...tir.types import i16, i32, u16, vector
from ..division import power_of_two


def by_number(node: Expr) -> Expr | None:
    """x // d as a product and shifts. Lanes with sign turn their bits below 0, for ~(~x // d) is
    x // d."""
    x, number = node.args
    fits = x.type.lanes > 1 and x.type.element in (i16, u16, i32)
    if not fits or not number.is_const or number.attr < 1 or power_of_two(node):
        return None  # by powers of two one shift divides
    divisor, (low, high) = int(number.attr), bounds(x, {})
    sign = x >> _like(x, x.type.bits - 1) if low < 0 else None
    length = x if sign is None else x ^ sign
    quotient = _quotient(length, divisor, max(high, -1 - low))
    return quotient if sign is None or quotient is None else quotient ^ sign


def rest_by_number(node: Expr) -> Expr | None:
    """x % d = x - (x // d) * d."""
    quotient = by_number(node)
    return None if quotient is None else node.args[0] - quotient * node.args[1]


def _quotient(x: Expr, divisor: int, most: int) -> Expr | None:
    """x // d = x*m >> s for 0 <= x <= n and m = ceil(2**s / d), if n * (m*d - 2**s) < 2**s: then
    x*m / 2**s exceeds x/d by less than 1/d, and no whole number lies between them."""
    bits = x.type.bits - 1
    for more in range(bits if most >> bits == 0 else 0):
        whole = 1 << bits + more
        number = -(-whole // divisor)
        if number >> bits == 0 and most * (number * divisor - whole) < whole:
            return _scaled(x, number, more)
    return _corrected(x, divisor, most) if bits == 15 else None


def _corrected(x: Expr, divisor: int, most: int) -> Expr:
    """Halfwords for which no m has few enough bits take floor(2**s / d): the quotient lacks one
    where d is left, and never more. For x/d lacks (2**s - m*d) * x / 2**s / d < 1/2, or for d = 3
    less than 2/3, and if the lowest bit of x had no place, at most 1/d more."""
    half, power = most >> 15, divisor.bit_length() - 1
    number = (1 << 15 + power) // divisor
    quotient = _scaled(x >> _like(x, half) if half else x, number, power - half)
    short = make("lt", x - quotient * _like(x, divisor), _like(x, divisor))
    return quotient + make("select", short, _like(x, 0), _like(x, 1))


def _scaled(x: Expr, number: int, more: int) -> Expr:
    """x * number >> its bits less one, and by some more."""
    signed = vector(i16 if x.type.bits == 16 else i32, x.type.lanes)
    factor = const(number, signed)
    if signed.bits == 16:  # a scalar's halfwords in turn
        factor = make("tile", const(number, vector(i16, 2)), attr=signed.lanes // 2)
    value = make("reinterpret", x, attr=signed)
    high = make("mul_shr", value, factor, const(signed.bits - 1, signed))
    return make("reinterpret", high >> const(more, signed) if more else high, attr=x.type)


def _like(value: Expr, number: int) -> Expr:
    return const(number, value.type)
