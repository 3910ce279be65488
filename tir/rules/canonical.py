"""Canonical order: constants right, sums leaning left, clamps as max(min(x, high), low), one cast.

These make the shapes that all other rules look for. Each holds modulo 2**bits.
"""

from __future__ import annotations

from ..expr import Expr, cast, make, maximum, minimum
from ..ops import JOINING
from ..rewrite.rule import Rule, exact, highest, lowest, number, wild
from ..types import Type, i8, i16, i32, u8, u16, u32

INTEGERS = (u8, i8, u16, i16, u32, i32)


def tidy(kind: Type) -> tuple[Rule, ...]:
    """Order and constants of one element."""
    x, y, z = (wild(name, kind) for name in "xyz")
    c, d = number("c", kind), number("d", kind)
    right = tuple(
        Rule(f"constant_right.{op}.{kind}", make(op, c, x), make(op, x, c), ordered=True)
        for op in JOINING
    )
    return (
        *right,
        # The accumulator stands left, so that products are added to it one after another.
        Rule(f"lean_left.{kind}", x + (y + z), (x + y) + z, ordered=True),
        # x - c is x + (-c) modulo 2**bits; unsigned, the constant would look large.
        *((Rule(f"add_negative.{kind}", x - c, x + (0 - c)),) if kind.signed else ()),
        Rule(f"add_twice.{kind}", (x + c) + d, x + (c + d), ordered=True),
        Rule(f"mul_twice.{kind}", (x * c) * d, x * (c * d), ordered=True),
        # a*x + b*x = (a + b)*x
        Rule(f"collect.{kind}", x * c + x * d, x * (c + d)),
        Rule(f"min_twice.{kind}", minimum(minimum(x, c), d), minimum(x, minimum(c, d))),
        Rule(f"max_twice.{kind}", maximum(maximum(x, c), d), maximum(x, maximum(c, d))),
        # With low <= high both orders clamp alike.
        Rule(f"clamp_order.{kind}", minimum(maximum(x, c), d), maximum(minimum(x, d), c),
             exact(c) <= exact(d)),
        Rule(f"max_of_min.{kind}", maximum(minimum(x, c), c), c),
    )  # fmt: skip


def shifts(kind: Type) -> tuple[Rule, ...]:
    """Shifts after shifts."""
    x = wild("x", kind)
    a, b = number("a", kind), number("b", kind)
    last = kind.bits - 1
    small = (exact(a) <= last) & (exact(b) <= last)
    small = small & (0 <= exact(a)) & (0 <= exact(b))
    fits = exact(a) + exact(b) <= last
    return (
        Rule(f"shl_twice.{kind}", (x << a) << b, x << (a + b), small & fits),
        Rule(f"shr_twice.{kind}", (x >> a) >> b, x >> (a + b), small & fits),
        # Nothing was shifted out.
        Rule(f"shr_of_shl.{kind}", (x << a) >> a, x,
             (0 <= exact(a)) & (exact(a) <= last)
             & (highest(x) << exact(a) <= kind.high) & (lowest(x) << exact(a) >= kind.low)),
    )  # fmt: skip


def casts() -> tuple[Rule, ...]:
    """A cast of a cast is one cast where the inner one keeps what the outer one needs."""
    rules = []
    for target in INTEGERS:
        for middle in INTEGERS:
            for source in INTEGERS:
                if source == middle or middle == target:
                    continue
                if target.bits <= middle.bits or middle.holds(source):
                    x = wild("x", source)
                    name = f"cast_twice.{target}.{middle}.{source}"
                    rules.append(Rule(name, _cast2(target, middle, x), cast(target, x)))
    return tuple(rules)


def _cast2(target: Type, middle: Type, x: Expr) -> Expr:
    return cast(target, cast(middle, x))


RULES = (
    *(rule for kind in INTEGERS for rule in tidy(kind)),
    *(rule for kind in INTEGERS for rule in shifts(kind)),
    *casts(),
)
