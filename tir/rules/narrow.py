"""Arithmetic on words whose result needs a halfword is done on halfwords.

    cast(i32, a) * 7 + cast(i32, b)        ->  cast(i32, cast(i16, a) * 7 + cast(i16, b))
    max(min(cast(i32, x) >> 4, 255), 0)    ->  cast(i32, max(min(x >> 4, 255), 0))

Sums, differences and products modulo 2**16 are those modulo 2**32 there; a result that fits is what
its low half says. Of the others, each keeps within the halfword what it is given.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..expr import Expr, cast, make, sat_cast, select
from ..rewrite.rule import Rule, exact, number, whole_highest, whole_lowest, wild
from ..types import Type, boolean, i8, i16, i32, u8, u16

SOURCES = (u8, i8, u16, i16)
HALVES = (i16, u16)
RING = ("add", "sub", "mul")


def fits(kind: Type) -> Expr:
    """Whether what the left side gives is a value of ``kind``."""
    return (kind.low <= whole_lowest) & (whole_highest <= kind.high)


def within(value: Expr, kind: Type) -> Expr:
    """Whether a number is one of ``kind``."""
    return (kind.low <= exact(value)) & (exact(value) <= kind.high)


def two(op: str) -> Iterator[Rule]:
    """Of two narrow values, one of them a halfword: two bytes make one by a widening operator."""
    pairs = [(a, b) for a in SOURCES for b in SOURCES if op == "sub" or a.bits >= b.bits]
    for a, b in pairs:
        if a.bits == b.bits == 8:
            continue
        x, y = wild("x", a), wild("y", b)
        for half in _halves(op, a, b):
            yield Rule(
                f"narrow_{op}.{half}.{a}.{b}",
                make(op, cast(i32, x), cast(i32, y)),
                cast(i32, make(op, cast(half, x), cast(half, y))),
                fits(half),
            )


def _halves(op: str, *kinds: Type) -> list[Type]:
    """The halfwords to compute in, the best first. Products of both kinds of them are too hard to
    prove, and what has a sign seldom gives results without one."""
    if op == "mul" and {u16, i16} <= {*kinds}:
        return []
    signed = op == "sub" or (op == "mul" and i16 in kinds)
    return [i16] if signed else sorted(HALVES, key=lambda half: (half not in kinds, half != i16))


def by_number(op: str) -> Iterator[Rule]:
    """Of a narrow value and a number, factors of a sign where halfwords are multiplied."""
    for kind in SOURCES:
        factor = u16 if kind == u16 else i16
        c = cast(i32, number("c", factor)) if op == "mul" else number("c", i32)
        x = wild("x", kind)
        for half in _halves(op, kind):
            sides = [(cast(i32, x), c), (cast(half, x), cast(half, c))]
            yield Rule(f"narrow_{op}_by.{half}.{kind}", make(op, *sides[0]),
                       cast(i32, make(op, *sides[1])), fits(half))  # fmt: skip
            if op == "sub":
                yield Rule(f"narrow_{op}_from.{half}.{kind}", make(op, *sides[0][::-1]),
                           cast(i32, make(op, *sides[1][::-1])), fits(half))  # fmt: skip


def shifts(half: Type) -> Iterator[Rule]:
    """Shifts of a halfword, by less than its bits."""
    x, n = wild("x", half), number("n", i32)
    small = (0 <= exact(n)) & (exact(n) <= 15)
    for op, when in (("shr", small), ("rounding_shr", small), ("shl", small & fits(half))):
        yield Rule(f"narrow_{op}.{half}", make(op, cast(i32, x), n),
                   cast(i32, make(op, x, cast(half, n))), when)  # fmt: skip


def kept(half: Type) -> Iterator[Rule]:
    """What gives one of its operands, or compares them."""
    x, y, c, q = wild("x", half), wild("y", half), number("c", i32), wild("q", boolean)
    wide, by = (cast(i32, x), cast(i32, y)), cast(half, c)
    for op in ("min", "max"):
        yield Rule(f"narrow_{op}.{half}", make(op, *wide), cast(i32, make(op, x, y)))
        yield Rule(f"narrow_{op}_by.{half}", make(op, wide[0], c), cast(i32, make(op, x, by)),
                   within(c, half))  # fmt: skip
    for op in ("lt", "le", "eq"):
        yield Rule(f"narrow_{op}.{half}", make(op, *wide), make(op, x, y))
        yield Rule(f"narrow_{op}_by.{half}", make(op, wide[0], c), make(op, x, by),
                   within(c, half))  # fmt: skip
    yield Rule(f"narrow_select.{half}", select(q, *wide), cast(i32, select(q, x, y)))
    if half.signed:
        yield Rule(f"narrow_abs.{half}", make("abs", wide[0]), cast(i32, make("abs", x)),
                   fits(half))  # fmt: skip


def saturated() -> Iterator[Rule]:
    """Saturating what became wider before is saturating it from there."""
    for half in HALVES:
        for target in (u8, i8):
            x = wild("x", half)
            yield Rule(f"saturate_widened.{target}.{half}", sat_cast(target, cast(i32, x)),
                       sat_cast(target, x))  # fmt: skip


RULES = (
    *(rule for op in RING for rule in two(op)),
    *(rule for op in RING for rule in by_number(op)),
    *(rule for half in HALVES for rule in shifts(half)),
    *(rule for half in HALVES for rule in kept(half)),
    *saturated(),
)
