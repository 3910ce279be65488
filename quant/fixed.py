"""Real rescaling factors as integer multipliers and shifts, by the integer contract's rules.

>>> fixed_requant([0.25], Affine(1.0, 3), bound=1000).shift
32
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..graph.graph import Affine, Requant
from ..graph.requantize import MODES

INT32_MAX = (1 << 31) - 1
ENOUGH = 8  # 1 << ENOUGH is more than any u8, whatever its zero point


def exponent(scale: float) -> int:
    """e with 2**(e-1) <= scale < 2**e."""
    return math.frexp(scale)[1]


def fixed_requant(
    scales: Sequence[float],
    output: Affine,
    bound: int,
    clamp: tuple[int, int] = (0, 255),
    mode: str = "single",
) -> Requant:
    """acc * scales -> u8 steps of ``output``; ``bound`` is the largest |acc| that can occur.

    One shift a tensor; the largest multiplier is at least 2**30. Scales of 1 and more shift the
    accumulator left first, as far as ``bound`` proves that it cannot overflow, or by ``ENOUGH``:
    accumulators beyond are cut to what can be shifted, for their u8 saturates either way. A scale
    above that is held at the limit, where any accumulator but 0 saturates anyway.
    """
    zero, (low, high) = output.zero_point, clamp
    if not MODES[mode].shifts:
        return Requant((), 0, zero, low, high, mode, tuple(scales))
    room = INT32_MAX.bit_length() - bound.bit_length()
    left = min(max(exponent(max(scales)), 0), max(room, ENOUGH))
    shift = min(31 - min(exponent(max(scales)) - left, 0), 62)
    multipliers = [min(round(math.ldexp(s, shift - left)), INT32_MAX) for s in scales]
    shift -= MODES[mode].before
    return Requant(tuple(multipliers), shift, zero, low, high, mode, (), left)
