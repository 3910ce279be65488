"""The form of a kernel: its text with holes for numbers, each known by its class alone.

A retrained or recalibrated model has other zero points, clamp ends, shifts and multipliers; as long
as none of them leaves its class, its kernels are of the same form: the same text, the same code,
the same cycles. Below is what a class may be: the bands in which code is the same.

    number("shift", 38, SHIFT)       # hole("shift", i32, 33, 46)
    number("zero", 0, ZERO)          # i32(0): a band of one value is a constant
"""

from __future__ import annotations

from dataclasses import dataclass

from ..tir.expr import Expr, const, hole
from ..tir.types import Type, i32


@dataclass(frozen=True, slots=True)
class Classes:
    """The bands of one kind of number: the least and the greatest value of each. A value is of the
    first band that holds it."""

    name: str
    bands: tuple[tuple[int, int], ...]

    def band(self, value: int) -> tuple[int, int]:
        """The band that holds ``value``; ValueError where none does."""
        found = next((band for band in self.bands if band[0] <= value <= band[1]), None)
        if found is None:
            raise ValueError(f"{self.name}: a number must be in {self.bands}, but got {value}")
        return found


# A zero point of 0 is not added at all.
ZERO = Classes("zero point", ((0, 0), (1, 255)))
# The byte that fills padding: products by zeros may be left out.
FILL = Classes("fill", ((0, 0), (1, 255)))
# Clamps at the ends of u8 are what saturation does anyway.
LOW = Classes("lower end", ((0, 0), (1, 255)))
HIGH = Classes("upper end", ((0, 254), (255, 255)))
# requantize: below 31 the accumulator goes left first; at 31 the product rounds by itself; up to 46
# one narrowing shift does the rest (31 + 15), rounded apart where it is 1; beyond it another shift
# goes before.
SHIFT = Classes("shift", ((1, 30), (31, 31), (32, 32), (33, 46), (47, 62)))
# The shift of a sum of two products: narrowing shifts count to 15.
SUM_SHIFT = Classes("shift of a sum", ((1, 1), (2, 15), (16, 30)))
# The shift of a softmax: from 17 on, high halves are shifted by the rest.
SOFTMAX_SHIFT = Classes("shift of a softmax", ((15, 15), (16, 16), (17, 22)))
SOFTMAX_REST = Classes("shift of high halves", ((1, 6),))
# A multiplier that all channels share: zero, or by its length in bits.
MULTIPLIER = Classes("multiplier", ((0, 0), *((1 << n, (2 << n) - 1) for n in range(31))))
# The 15-bit multipliers of a sum: zero, or any number of either sign.
FACTOR = Classes("factor", ((0, 0), (-32767, 32767)))
# Constants of sums, which may wrap: zero, or any word.
OFFSET = Classes("offset", ((0, 0), (-(1 << 31), (1 << 31) - 1)))


def number(name: str, value: int, classes: Classes, kind: Type = i32) -> Expr:
    """A constant where the band of ``value`` holds no other value, else the hole ``name``."""
    low, high = classes.band(value)
    return const(low, kind) if low == high else hole(name, kind, low, high)
