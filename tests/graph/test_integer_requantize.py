"""The three requantization modes against Python's own integers and exact fractions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dovetail.graph.graph import Requant
from dovetail.graph.requantize import requantize

INT32 = st.integers(-(1 << 31), (1 << 31) - 1)
MULTIPLIER = st.integers(0, (1 << 31) - 1)
ZERO = st.integers(0, 255)


def clamp(value: int, low: int = 0, high: int = 255) -> int:
    return min(max(value, low), high)


@given(INT32, MULTIPLIER, st.integers(1, 62), ZERO, ZERO, ZERO)
def test_single_is_one_rounding_of_the_exact_product(
    acc: int, multiplier: int, shift: int, zero: int, one: int, other: int
) -> None:
    low, high = sorted((one, other))
    requant = Requant((multiplier,), shift, zero, low, high)
    exact = ((acc * multiplier + (1 << (shift - 1))) >> shift) + zero
    assert requantize(np.array([acc]), requant)[0] == clamp(exact, low, high)


@given(st.integers(-(1 << 20), 1 << 20), MULTIPLIER, st.integers(0, 11), st.integers(31, 62))
def test_the_left_shift_comes_before_the_product(
    acc: int, multiplier: int, left: int, shift: int
) -> None:
    requant = Requant((multiplier,), shift, 7, left=left)
    exact = ((((acc << left) * multiplier) + (1 << (shift - 1))) >> shift) + 7
    assert requantize(np.array([acc], np.int32), requant)[0] == clamp(exact)


@given(INT32, st.integers(1, 30), st.sampled_from(["single", "tflite"]))
def test_what_does_not_shift_is_cut(acc: int, left: int, mode: str) -> None:
    shift = 31 if mode == "single" else 0
    requant = Requant((1 << 30,), shift, 7, mode=mode, left=left)
    limit = ((1 << 31) - 1) >> left
    held = clamp(acc, -limit, limit)
    assert requantize(np.array([acc], np.int32), requant)[0] == clamp((held << left) // 2 + 7)


def doubling_high(a: int, b: int) -> int:
    """The rounded high half of 2ab: nudge, then division that truncates towards zero."""
    nudged = Fraction(a * b + (1 << 30 if a * b >= 0 else 1 - (1 << 30)), 1 << 31)
    return int(nudged)


def rounding_shift(value: int, shift: int) -> int:
    """value / 2**shift to the nearest, ties away from zero."""
    magnitude = (2 * abs(value) + (1 << shift)) >> (shift + 1)
    return magnitude if value >= 0 else -magnitude


@given(INT32, MULTIPLIER, st.integers(0, 31), ZERO)
def test_tflite_rounds_twice(acc: int, multiplier: int, shift: int, zero: int) -> None:
    requant = Requant((multiplier,), shift, zero, mode="tflite")
    exact = rounding_shift(doubling_high(acc, multiplier), shift) + zero
    assert requantize(np.array([acc]), requant)[0] == clamp(exact)


def test_tflite_differs_from_single_on_a_double_rounding() -> None:
    # 5 / 4: the first rounding makes 3 of 2.5, the second 2 of 1.5.
    acc = np.array([5])
    once = requantize(acc, Requant((1 << 30,), 32, 0))
    twice = requantize(acc, Requant((1 << 30,), 1, 0, mode="tflite"))
    assert (once[0], twice[0]) == (1, 2)


@given(INT32, st.floats(2.0**-40, 1.0, width=32), ZERO)
def test_float_is_the_float32_formula(acc: int, scale: float, zero: int) -> None:
    requant = Requant((), 0, zero, mode="float", scale=(scale,))
    product = float(np.float32(acc) * np.float32(scale))
    assert requantize(np.array([acc]), requant)[0] == clamp(round(product) + zero)


@pytest.mark.parametrize("mode", ["single", "float", "tflite"])
def test_channels_lie_on_the_given_axis(mode: str) -> None:
    multipliers = (1 << 30, 1 << 29, (1 << 31) - 1)
    scales = tuple(m / 2.0**36 for m in multipliers)
    shift = {"single": 36, "tflite": 5, "float": 0}[mode]
    acc = np.arange(-2000, 1600).reshape(2, 3, 600) * 9
    whole = requantize(acc, Requant(multipliers, shift, 90, 3, 250, mode, scales), axis=1)
    for channel in range(3):
        multiplier, scale = (multipliers[channel],), (scales[channel],)
        alone = Requant(multiplier, shift, 90, 3, 250, mode, scale)
        assert (whole[:, channel] == requantize(acc[:, channel], alone)).all()
