"""Operators that no row computes, in smaller steps: selection falls back to them.

rounding_shr(x, 9) of i32, which narrowing shifts do not reach    ->    rounding_shr(x >> 1, 8)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from operator import add

from ..tir.bounds import bounds
from ..tir.expr import Expr, cast, const, make, select
from ..tir.simplifier import simplify
from ..tir.types import i32, i64, u32
from .division import divide, mask_down, remain, shift_down
from .numbers import count_of, spread


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


def _left_first(node: Expr) -> Expr | None:
    """With s < 31 the accumulator goes left first, where its bounds leave room for it."""
    a, m, s = node.args
    known = count_of(s, 0, 30)
    if known is None or node.type.lanes == 1:
        return None
    count, least, _ = known
    low, high = bounds(a, {})
    if low << (31 - least) < a.type.low or high << (31 - least) > a.type.high:
        return None
    by = spread(less(const(31, count.type), count), a)
    return make("rounding_mul_shr", a << by, m, const(31, s.type))


def _shift_first(node: Expr) -> Expr | None:
    """rounding_shr(x, s) = rounding_shr(x >> t, s - t): floors compose. Narrowing shifts count to
    one less than the narrow lane's bits."""
    x, s = node.args
    most = node.type.bits // 2 - 1
    known = count_of(s, most + 1, node.type.bits - 1)
    if known is None or node.type.lanes == 1 or known[1] == known[2] == most + 1:
        return None  # rows round to the high half
    return make("rounding_shr", x >> spread(less(known[0], most), x), const(most, s.type))


def _round_alone(node: Expr) -> Expr | None:
    """rounding_shr(x, s) = (floor(x / 2**(s-1)) + 1) >> 1, and where s may be 1 and the sum could
    wrap, (x >> s) + ((x >> (s-1)) & 1)."""
    x, s = node.args
    known = count_of(s, 0, x.type.bits)
    if known is None:
        return None
    count, least, most = known
    if least == 0:
        return x if most == 0 else None
    one, before = const(1, x.type), spread(less(count, 1), x)
    if least == 1:
        return (x >> spread(count, x)) + ((x if most == 1 else x >> before) & one)
    return ((x >> before) + one) >> one


def _where_it_holds(node: Expr) -> Expr | None:
    """x + select(c, 0, y) = select(c, x, x + y), which adds where a predicate does not hold; so
    with x - y."""
    x, chosen = node.args
    if chosen.op != "select" or not chosen.args[1].is_const or chosen.args[1].attr != 0:
        return None
    return make("select", chosen.args[0], x, make(node.op, x, chosen.args[2]))


def _clamped_first(node: Expr) -> Expr | None:
    """Lanes saturate to half their bits as what is clamped there, of which the low halves are
    kept; those without a sign need one end."""
    parts = []
    for arg in node.args:
        if arg.op != "sat_cast" or arg.args[0].type.bits != 2 * arg.type.bits:
            return None
        wide = arg.args[0]
        inside = make("min", wide, const(arg.type.high, wide.type))
        if wide.type.signed:
            inside = make("max", inside, const(arg.type.low, wide.type))
        parts.append(cast(arg.type.element, inside))
    return make(node.op, *parts)


def _wide_scalar(node: Expr) -> Expr | None:
    """The scalar product in 64 bits, rounded and shifted there. Of s = 31 only the square of the
    lowest value saturates, from 32 on nothing does."""
    if node.type != i32:
        return None
    a, m, s = node.args
    known = count_of(s, 0, 62)
    if known is None or known[1] == 0 < known[2]:
        return None
    count, shortest, _ = known
    product = Expr("cast", i64, (a,)) * Expr("cast", i64, (m,))
    count = const(count.attr, i64) if count.is_const else cast(i64, count)
    half = simplify(const(1, i64) << less(count, 1)) if shortest else const(0, i64)
    least = max(bounds(factor, {})[0] for factor in (a, m))
    fits = shortest > 31 or (shortest == 31 and least > i32.low)
    rounded = product + half if shortest else product
    return Expr("cast" if fits else "sat_cast", i32, (rounded >> count,))


def _shift_by_bits(node: Expr) -> Expr | None:
    """A scalar shifted by a number that is not known: by each of its bits that is set."""
    x, count = node.args
    if node.type not in (i32, u32) or count.is_const:
        return None
    for bit in range(5):
        by = const(1 << bit, count.type)
        shifted = make(node.op, x, const(1 << bit, x.type))
        x = make("select", make("eq", count & by, const(0, count.type)), x, shifted)
    return x


def _shift_up(node: Expr) -> Expr | None:
    """x * 2**n = x << n, modulo the lanes' size."""
    x, power = node.args
    number = int(power.attr) if power.is_const else 0
    if node.type.lanes == 1 or number <= 0 or number & (number - 1):
        return None
    return x << const(number.bit_length() - 1, x.type)


def _as_words(node: Expr) -> Expr | None:
    """The bytes or halfwords of a word again and again are that word again and again."""
    value = node.args[0].type
    if value.lanes == 1 or value.lanes * value.bits != 32 or not value.is_int:
        return None
    word = make("reinterpret", node.args[0], attr=i32)
    return make("reinterpret", make("tile", word, attr=node.attr), attr=node.type)


def less(count: Expr, by: int | Expr) -> Expr:
    """``count - by``; a constant where both are."""
    return simplify(count - by)


def _by_bytes(node: Expr) -> Expr | None:
    """Of a byte: one more for each power of two that it is below."""
    (value,) = node.args
    if node.type.lanes == 1 or node.type.bits != 8:
        return None
    zero, one = const(0, node.type), const(1, node.type)
    below = [select(value < 1 << bit, one, zero) for bit in range(8)]
    return reduce(add, below)


EXPANSIONS = (
    Expansion("rounding_mul_shr", _left_first, early=True),
    Expansion("rounding_shr", _shift_first, early=True),
    Expansion("add", _where_it_holds, early=True),
    Expansion("sub", _where_it_holds, early=True),
    Expansion("rounding_mul_shr", _wide_scalar),
    Expansion("rounding_shr", _round_alone),
    Expansion("mul", _shift_up),
    Expansion("shr", _shift_by_bits),
    Expansion("shl", _shift_by_bits),
    Expansion("floordiv", shift_down),
    Expansion("mod", mask_down),
    Expansion("floordiv", divide),
    Expansion("mod", remain),
    Expansion("interleave", _clamped_first),
    Expansion("tile", _as_words),
    Expansion("count_leading_zeros", _by_bytes),
)
