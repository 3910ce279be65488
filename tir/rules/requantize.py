"""Requantization: the zero point and the clamp go into saturating 16-bit and 8-bit operators.

    cast(u8, max(min(x + zp, high), low))
      ->  max(min(sat_cast(u8, sat_add(sat_cast(i16, x), zp)), high), low)

Four vectors of i32 become two of i16 at once, so the zero point is added to half as many bits.
"""

from __future__ import annotations

from ..expr import Expr, cast, make, maximum, minimum, sat_cast
from ..rewrite.rule import Rule, exact, highest, lowest, number, wild
from ..types import Type, i8, i16, i32, u8


def _through_halfwords(x: Expr, zero: Expr, target: Type) -> Expr:
    """x + zero saturated to i16, then to the target: exact for a zero point of 8 bits."""
    return sat_cast(target, make("sat_add", sat_cast(i16, x), cast(i16, zero)))


def zero_points(target: Type) -> tuple[Rule, ...]:
    """Where |zero| <= 255, x beyond i16 is beyond the target's range with the zero point too."""
    x = wild("x", i32)
    zero, low, high = number("zero", i32), number("low", i32), number("high", i32)
    small = (-255 <= exact(zero)) & (exact(zero) <= 255)
    no_wrap = (highest(x) + exact(zero) <= i32.high) & (i32.low <= lowest(x) + exact(zero))
    inside = (target.low <= exact(low)) & (exact(low) <= target.high)
    inside = inside & (target.low <= exact(high)) & (exact(high) <= target.high)
    shifted = (target.low <= exact(low) + exact(zero)) & (exact(low) <= exact(high))
    shifted = shifted & (exact(high) + exact(zero) <= target.high)
    core = _through_halfwords(x, zero, target)
    ends = cast(target, low), cast(target, high)
    moved = cast(target, low + zero), cast(target, high + zero)
    return (
        Rule(f"zero_point_then_clamp.{target}", cast(target, maximum(minimum(x + zero, high), low)),
             maximum(minimum(core, ends[1]), ends[0]), small & no_wrap & inside),
        # The clamp stands below the zero point, so that nothing can wrap.
        Rule(f"clamp_then_zero_point.{target}",
             cast(target, maximum(minimum(x, high), low) + zero),
             maximum(minimum(core, moved[1]), moved[0]), small & shifted),
        Rule(f"zero_point_then_saturate.{target}", sat_cast(target, x + zero), core,
             small & no_wrap),
        # The clamp of the sum has become one of the saturated value already.
        Rule(f"halfword_zero_point.{target}",
             sat_cast(target, make("sat_add", sat_cast(i16, x + zero), number("c", i16))),
             sat_cast(target, make("sat_add", sat_cast(i16, x),
                                   cast(i16, zero) + number("c", i16))),
             small & no_wrap & (-255 <= exact(zero) + exact(number("c", i16)))
             & (exact(zero) + exact(number("c", i16)) <= 255)
             & (-255 <= exact(number("c", i16))) & (exact(number("c", i16)) <= 255)),
    )  # fmt: skip


RULES = (*zero_points(u8), *zero_points(i8))
