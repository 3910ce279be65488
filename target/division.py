"""Division of words, which the machine has not: bit by bit, as on paper.

r = 0; q = 0; from the highest bit of |a| down:  r = r << 1 | bit; if |b| <= r: r -= |b|, q |= 1
"""

from __future__ import annotations

from ..tir.bounds import bounds
from ..tir.expr import Expr, const, make
from ..tir.simplifier import simplify
from ..tir.types import i16, i32, u16, u32


def shift_down(node: Expr) -> Expr | None:
    """x // 2**n = x >> n, for both round down."""
    a, power = node.args[0], power_of_two(node)
    return None if power is None else a >> const(power.bit_length() - 1, a.type)


def mask_down(node: Expr) -> Expr | None:
    """x % 2**n = x & 2**n - 1, for what is left over is positive."""
    a, power = node.args[0], power_of_two(node)
    return None if power is None else a & const(power - 1, a.type)


def power_of_two(node: Expr) -> int | None:
    """The power of two by which words with sign are divided, or vectors of halfwords."""
    divisor, kind = node.args[1], node.type
    divided = kind.element == i32 or (kind.lanes > 1 and kind.element in (i16, u16))
    if not divided or not divisor.is_const:
        return None
    number = int(divisor.attr)
    return number if number > 0 and number & (number - 1) == 0 else None


def divide(node: Expr) -> Expr | None:
    """By lengths; where the signs differ, -q rounds down to -q - 1 = ~q unless r is 0. What is
    divided by 0 is 0, and the lowest number by -1 is its own negative, which wraps to it."""
    a, b = node.args
    if node.type == u32:
        return _unsigned(node, 0)
    if node.type.element != i32:
        return None
    ends = bounds(a, {}), bounds(b, {})
    quotient, rest = _by_lengths(_length(a, ends[0]), _length(b, ends[1]), *_size(*ends))
    if min(ends[0][0], ends[1][0]) < 0:
        zero, ones = _like(a, 0), _like(a, -1)
        down = make("select", make("eq", rest, zero), zero - quotient, quotient ^ ones)
        quotient = make("select", make("lt", a ^ b, zero), down, quotient)
    return _unless_zero(b, ends[1], quotient)


def remain(node: Expr) -> Expr | None:
    """The rest of the lengths, which |b| less it is where the signs differ; with the sign of b."""
    a, b = node.args
    if node.type == u32:
        return _unsigned(node, 1)
    if node.type.element != i32:
        return None
    ends = bounds(a, {}), bounds(b, {})
    rest = _by_lengths(_length(a, ends[0]), _length(b, ends[1]), *_size(*ends))[1]
    zero = _like(a, 0)
    if min(ends[0][0], ends[1][0]) < 0:
        other = make("select", make("eq", rest, zero), zero, _length(b, ends[1]) - rest)
        rest = make("select", make("lt", a ^ b, zero), other, rest)
    if ends[1][1] < 0:
        rest = zero - rest
    elif ends[1][0] < 0:
        rest = make("select", make("lt", b, zero), zero - rest, rest)
    return _unless_zero(b, ends[1], rest)


def _unless_zero(b: Expr, ends: tuple[int, int], value: Expr) -> Expr:
    if not ends[0] <= 0 <= ends[1]:
        return value
    return make("select", make("eq", b, _like(b, 0)), _like(b, 0), value)


def _unsigned(node: Expr, part: int) -> Expr:
    """Quotient (0) or rest (1) of scalars without sign."""
    a, b = (Expr("cast", i32, (arg,)) for arg in node.args)
    found = _by_lengths(a, b, 32, True)[part]
    ends = bounds(node.args[1], {})
    return Expr("cast", u32, (_unless_zero(b, ends, found),))


def _size(of_a: tuple[int, int], of_b: tuple[int, int]) -> tuple[int, bool]:
    """The bits of |a|, and whether |a| or |b| may be 2**31."""
    return max(-of_a[0], of_a[1], 0).bit_length(), i32.low in (of_a[0], of_b[0])


def _by_lengths(a: Expr, b: Expr, bits: int, turned: bool) -> tuple[Expr, Expr]:
    """Quotient and rest of words without sign, of which ``a`` has some bits; of a ``b`` of 0 they
    mean nothing. No rest exceeds ``a``, so the highest bits are ``turned`` to compare words only
    where one may have it."""
    most = _like(b, i32.low)
    limit = simplify(b ^ most) if turned else b
    quotient = rest = _like(a, 0)
    for place in reversed(range(bits)):
        bit = (a >> _like(a, place)) & _like(a, 1)
        first = place == bits - 1
        rest = bit if first else (rest << _like(a, 1)) | bit
        short = make("lt", rest ^ most if turned else rest, limit)
        take = make("select", short, _like(a, 0), _like(a, -1))  # predicates are few: one use each
        rest = rest - (b & take)
        quotient = (quotient if first else quotient << _like(a, 1)) - take
    return quotient, rest


def _length(value: Expr, ends: tuple[int, int]) -> Expr:
    return value if ends[0] >= 0 else simplify(make("abs", value))


def _like(value: Expr, number: int) -> Expr:
    return const(number, value.type)
