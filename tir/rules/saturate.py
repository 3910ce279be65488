"""Clamps and casts become saturating operators; choices become minimum and maximum.

cast(u8, max(min(x, 255), 0))                        ->  sat_cast(u8, x)
sat_cast(u8, cast(i16, a) + cast(i16, b))            ->  sat_add(a, b)
"""

from __future__ import annotations

from ..expr import Expr, cast, const, make, maximum, minimum, sat_cast, select
from ..rewrite.rule import Rule, exact, lowest, number, wild
from ..types import Type, i8, i16, i32, u8, u16, u32
from .fixed_point import totals

INTEGERS = (u8, i8, u16, i16, u32, i32)
NARROWING = tuple(
    (wide, narrow)
    for wide in (i32, i16, u16)
    for narrow in (u8, i8, u16, i16)
    if narrow.bits < wide.bits
)


def clamps(wide: Type, narrow: Type) -> tuple[Rule, ...]:
    """A clamp within the narrow type, then a cast, saturates."""
    x, low, high = wild("x", wide), number("low", wide), number("high", wide)
    name = f"{wide}.{narrow}"
    top = (exact(high) <= narrow.high) & (narrow.low <= exact(high))
    bottom = (exact(low) <= narrow.high) & (narrow.low <= exact(low))
    inside = top & bottom
    narrowed = sat_cast(narrow, x)
    rules = [
        # clamp(x, low, high) = clamp(clamp(x, type), low, high) where low..high is within the type.
        Rule(f"clamp_then_cast.{name}", cast(narrow, maximum(minimum(x, high), low)),
             maximum(minimum(narrowed, cast(narrow, high)), cast(narrow, low)), inside),
        # One side is enough where range analysis knows the other.
        Rule(f"min_then_cast.{name}", cast(narrow, minimum(x, high)),
             minimum(narrowed, cast(narrow, high)), top & (narrow.low <= lowest(x))),
    ]  # fmt: skip
    if wide.signed:
        # A saturating cast may take the clamp inside as well.
        rules += [
            Rule(f"min_then_saturate.{name}", sat_cast(narrow, minimum(x, high)),
                 minimum(narrowed, cast(narrow, high)), top),
            Rule(f"max_then_saturate.{name}", sat_cast(narrow, maximum(x, low)),
                 maximum(narrowed, cast(narrow, low)), bottom),
        ]  # fmt: skip
    return tuple(rules)


def full_range(kind: Type) -> tuple[Rule, ...]:
    """A clamp at the end of the type does nothing."""
    x = wild("x", kind)
    return (
        Rule(f"min_of_all.{kind}", minimum(x, kind.high), x),
        Rule(f"max_of_all.{kind}", maximum(x, kind.low), x),
    )


def saturating(kind: Type) -> tuple[Rule, ...]:
    """A sum or difference in a wider type, saturated back."""
    a, b = wild("a", kind), wild("b", kind)
    rules = []
    for op in ("add", "sub"):
        lifted = make(f"sat_{op}", a, b)
        for name, total in totals(op, kind):
            rules.append(Rule(f"sat_{op}.{name}", sat_cast(kind, total), lifted))
            if op == "sub" and not kind.signed:
                rules.append(Rule(f"sub_then_relu.{name}", cast(kind, maximum(total, 0)), lifted))
            if op == "add" and not kind.signed:
                limited = cast(kind, minimum(total, kind.high))
                rules.append(Rule(f"add_then_min.{name}", limited, lifted))
    return tuple(rules)


def nested(source: Type) -> tuple[Rule, ...]:
    """Saturating twice is saturating once, to the smaller type."""
    x = wild("x", source)
    return tuple(
        Rule(f"saturate_twice.{narrow}.{middle}.{source}",
             sat_cast(narrow, sat_cast(middle, x)), sat_cast(narrow, x))
        for middle in (u16, i16, u8, i8)
        for narrow in (u8, i8)
        if middle not in (source, narrow) and middle.low <= narrow.low
        and narrow.high <= middle.high
    )  # fmt: skip


def choices(kind: Type) -> tuple[Rule, ...]:
    """select by a comparison of what is chosen."""
    a, b = wild("a", kind), wild("b", kind)
    less, at_most = a < b, a <= b
    return tuple(
        Rule(f"{name}_of_{word}.{kind}", select(test, *chosen), lifted)
        for name, lifted in (("min", minimum(a, b)), ("max", maximum(a, b)))
        for word, test in (("less", less), ("at_most", at_most))
        for chosen in [(a, b) if name == "min" else (b, a)]
    )


def extremes(kind: Type) -> tuple[Rule, ...]:
    """abs by a choice, and a choice between a value and 0."""
    x = wild("x", kind)
    zero: Expr = const(0, kind)
    return (
        Rule(f"abs_of_select.{kind}", select(x < zero, zero - x, x), make("abs", x)),
        Rule(f"abs_of_max.{kind}", maximum(x, zero - x), make("abs", x)),
    )


RULES = (
    *(rule for wide, narrow in NARROWING for rule in clamps(wide, narrow)),
    *(rule for kind in INTEGERS for rule in full_range(kind)),
    *(rule for kind in (u8, i8, u16, i16) for rule in saturating(kind)),
    *(rule for kind in (i32, i16) for rule in nested(kind)),
    *(rule for kind in INTEGERS for rule in choices(kind)),
    *(rule for kind in (i8, i16, i32) for rule in extremes(kind)),
)
