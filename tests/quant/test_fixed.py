"""Multipliers and shifts stand for their real factors as closely as 31 (or 15) bits allow."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dovetail.graph.graph import Affine
from dovetail.graph.operators.add import add_multipliers
from dovetail.graph.requantize import requantize
from dovetail.quant.fixed import INT32_MAX, fixed_requant

OUTPUT = Affine(1.0, 100)
FACTORS = st.lists(st.floats(2.0**-20, 2.0**4), min_size=1, max_size=5)


@given(FACTORS, st.integers(1, 1 << 26))
def test_single_keeps_the_rules(factors: list[float], bound: int) -> None:
    made = fixed_requant(factors, OUTPUT, bound)
    assert 31 <= made.shift <= 62
    assert max(made.multiplier) >= 1 << 30 and max(made.multiplier) <= INT32_MAX
    assert bound << made.left <= INT32_MAX or made.left <= 8
    step = math.ldexp(1.0, made.left - made.shift)
    for factor, multiplier in zip(factors, made.multiplier, strict=True):
        assert abs(multiplier * step - factor) <= step


@given(st.floats(2.0**-24, 2.0**-1), st.integers(-(1 << 20), 1 << 20))
def test_tflite_and_single_are_near_the_real_product(factor: float, acc: int) -> None:
    real = acc * factor + 100
    for mode in ("single", "tflite", "float"):
        made = fixed_requant([factor], OUTPUT, 1 << 20, mode=mode)
        came = int(requantize(np.array([acc]), made)[0])
        assert abs(came - min(max(real, 0), 255)) <= 1.0


def test_factors_below_the_last_shift_are_smaller_multipliers() -> None:
    made = fixed_requant([2.0**-40], OUTPUT, 1000)
    assert (made.shift, made.multiplier) == (62, (1 << 22,))


@pytest.mark.parametrize("factor", [2.0**9, 2.0**20, 2.0**40])
def test_factors_above_the_proven_shift_saturate_all_the_same(factor: float) -> None:
    made = fixed_requant([factor], OUTPUT, (1 << 23) - 1)
    assert made.left == 8
    assert requantize(np.array([-5, -1, 0, 1, 5]), made).tolist() == [0, 0, 100, 255, 255]


@given(st.floats(2.0**-3, 2.0**40), st.integers(1, 31), st.integers(-(1 << 31) + 1, (1 << 31) - 1))
def test_no_bound_changes_a_large_factor(factor: float, bits: int, acc: int) -> None:
    acc >>= 31 - bits  # the bound's bits
    made = fixed_requant([factor], OUTPUT, (1 << bits) - 1)
    real = min(max(acc * factor + 100, 0), 255)
    assert abs(int(requantize(np.array([acc]), made)[0]) - real) <= 0.51


@given(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3), st.floats(1e-2, 1e2), st.booleans())
def test_add_multipliers(a: float, b: float, output: float, minus: bool) -> None:
    signed = -b if minus else b
    made = add_multipliers(a, signed, output)
    assert 1 <= made.shift <= 30
    limit = (1 << 15) - 1
    assert max(abs(made.a), abs(made.b)) <= limit
    assert 255 * (abs(made.a) + abs(made.b)) + (1 << (made.shift - 1)) <= INT32_MAX
    if max(a, b) / output < 1 << 13:
        step = 2.0**-made.shift
        assert abs(made.a * step - a / output) <= step
        assert abs(made.b * step - signed / output) <= step
