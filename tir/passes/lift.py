"""Plain arithmetic is recognised as fixed-point idioms, before scheduling, on every target alike.

cast(u8, max(min(rounding_mul_shr(a, m, s) + 3, 255), 0))
sat_cast(u8, sat_add(sat_cast(i16, rounding_mul_shr(a, m, s)), 3))
"""

from __future__ import annotations

from ..expr import Expr, const, make, maximum, minimum, sat_cast, transform
from ..stmt import PrimFunc, map_exprs
from ..types import i16


def lift(func: PrimFunc) -> PrimFunc:
    """``func`` with narrowing clamps as saturating casts."""
    return func.with_body(map_exprs(func.body, lambda e: transform(e, _narrowing)))


def _narrowing(node: Expr) -> Expr | None:
    """A clamp within a byte, then a cast to it: saturate in two steps, then the closer bounds.

    sat8(sat16(x) + z saturated) = clamp(x + z, 0, 255) for |z| <= 255: where sat16 or the sum
    saturate, the exact value lies beyond the byte's range on the same side.
    """
    if node.op != "cast" or node.type.bits != 8 or node.args[0].type.bits != 32:
        return None
    bounds = _clamped(node.args[0])
    if bounds is None:
        return None
    value, low, high = bounds
    kind = node.type.element
    if low < kind.low or high > kind.high:
        return None
    zero = 0
    if value.op == "add" and value.args[1].is_const and abs(value.args[1].attr) <= 255:
        value, zero = value.args[0], value.args[1].attr
    half = sat_cast(i16, value)
    if zero:
        half = make("sat_add", half, const(zero, half.type))
    byte = sat_cast(kind, half)
    if high < kind.high:
        byte = minimum(byte, const(high, byte.type))
    return maximum(byte, const(low, byte.type)) if low > kind.low else byte


def _clamped(node: Expr) -> tuple[Expr, int, int] | None:
    """The value and the bounds of ``max(min(value, high), low)``."""
    if node.op != "max" or not node.args[1].is_const or node.args[0].op != "min":
        return None
    inner = node.args[0]
    if not inner.args[1].is_const:
        return None
    return inner.args[0], int(node.args[1].attr), int(inner.args[1].attr)
