"""From an i32 accumulator back to u8: the three named modes, exact, in NumPy.

``single`` rounds once, ties up: clamp(((acc * m + 2**(s-1)) >> s) + zero_point, low, high).
``float`` is clamp(rint(f32(acc) * f32(scale)) + zero_point, low, high), ties to even.
``tflite`` rounds twice: h = (2 * acc * m) / 2**32 rounded (ties away from zero, truncating
division after a nudge), then h / 2**shift rounded, ties away from zero; m in [0, 2**31).
Before both, acc is cut to what shifts left in i32: clamp(acc, -limit, limit) << left, where
limit = (2**31 - 1) >> left.

    >>> requantize(np.array([100]), Requant((1 << 30,), 32, zero_point=3))
    array([28], dtype=uint8)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..options.registry import Registry
from .graph import Array, Requant

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Mode:
    """How sums are rescaled: by a multiplier and a shift, or by a float where it has no shifts.

    ``rounded`` takes accumulators (any integers whose values fit i32), the numbers and the channel
    axis, and gives steps that are neither moved to the zero point nor clamped.
    """

    rounded: Callable[[Array, Requant, int | None], Integers]
    shifts: range  # those that it can take
    before: int = 0  # bits by which the product is shifted already


MODES = Registry[Mode]()
WIDE = "wide"  # of sums that are rounded once, with what is added to them: they stay i32


def requantize(acc: Array, requant: Requant, axis: int | None = None) -> Array:
    """``acc`` (any integer array whose values fit i32) to u8, or to i32 in the mode ``wide``;
    ``axis`` is the channel axis."""
    if requant.mode == WIDE:
        return _single(acc, requant, axis).astype(np.int32)
    rounded = MODES[requant.mode].rounded(acc, requant, axis)
    rounded += requant.zero_point
    held = rounded if rounded.ndim else None  # of rank 0, NumPy gives scalars
    return np.asarray(np.clip(rounded, requant.low, requant.high, out=held), np.uint8)


def _along(channels: Array, rank: int, axis: int | None) -> Array:
    """One value, or one a channel placed on ``axis`` so that it broadcasts."""
    if channels.size == 1:
        return channels.reshape(())
    assert axis is not None, "per-channel requantization needs a channel axis"
    shape = [1] * rank
    shape[axis] = channels.size
    return channels.reshape(shape)


def _product(acc: Array, requant: Requant, axis: int | None) -> Integers:
    """The accumulators, shifted left, by their multipliers: exact."""
    limit = ((1 << 31) - 1) >> requant.left
    cut = np.clip(acc, -limit, limit) if requant.left else acc
    wide = np.asarray(cut).astype(np.int64) << requant.left
    return np.asarray(wide * _along(np.array(requant.multiplier, np.int64), acc.ndim, axis))


def _single(acc: Array, requant: Requant, axis: int | None) -> Integers:
    # |acc * m| < 2**62 and the rounding term is at most 2**61: int64 holds the sum.
    product = _product(acc, requant, axis)
    product += 1 << (requant.shift - 1)
    product >>= requant.shift
    return product


MODES.row("single", "rounded once, in integers")(Mode(_single, range(1, 63)))


def _float(acc: Array, requant: Requant, axis: int | None) -> Integers:
    scale = _along(np.array(requant.scale, np.float32), acc.ndim, axis)
    return np.rint(acc.astype(np.float32) * scale).astype(np.int64)


MODES.row("float", "ONNX Runtime's formula, in float32")(Mode(_float, range(0)))


def _tflite(acc: Array, requant: Requant, axis: int | None) -> Integers:
    product = _product(acc, requant, axis)
    nudged = product + np.where(product >= 0, 1 << 30, 1 - (1 << 30))
    high = np.where(nudged >= 0, nudged >> 31, -(-nudged >> 31))
    mask = (1 << requant.shift) - 1
    above = (high & mask) > (mask >> 1) + (high < 0)
    return np.asarray((high >> requant.shift) + above, np.int64)


MODES.row("tflite", "rounded twice, in integers")(Mode(_tflite, range(32), before=31))
