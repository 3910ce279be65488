"""Affine maps and the float32 formulas at the borders."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dovetail.graph.graph import Affine
from dovetail.quant.affine import affine, bounds, dequantize_array, quantize_array

REAL = st.floats(-1e6, 1e6, width=32)


@given(REAL, REAL)
def test_the_range_is_covered_and_zero_is_exact(one: float, other: float) -> None:
    low, high = sorted((one, other))
    chosen = affine(low, high)
    assert 0 <= chosen.zero_point <= 255
    assert float(np.float32(chosen.scale)) == chosen.scale
    zero = quantize_array(np.zeros(1), chosen)
    assert dequantize_array(zero, chosen)[0] == 0
    ends = np.array([min(low, 0), max(high, 0)], np.float32)
    back = dequantize_array(quantize_array(ends, chosen), chosen)
    assert np.abs(back - ends).max() <= chosen.scale * 1.01


def test_a_range_of_zeros_has_a_map() -> None:
    assert affine(0.0, 0.0) == Affine(1.0, 0)


def test_every_byte_survives_the_round_trip() -> None:
    every = np.arange(256, dtype=np.uint8)
    for chosen in (affine(-1.0, 2.7), affine(0.0, 1e-3), Affine(1 / 256, 0)):
        assert (quantize_array(dequantize_array(every, chosen), chosen) == every).all()


def test_ties_round_to_even_and_the_rest_saturates() -> None:
    came = quantize_array(np.array([0.5, 1.5, 2.5, -400.0, 400.0]), Affine(1.0, 100))
    assert came.tolist() == [100, 102, 102, 0, 255]


def test_infinities_saturate_and_nan_is_zero() -> None:
    came = quantize_array(np.array([-math.inf, math.inf, math.nan]), Affine(1.0, 100))
    assert came.tolist() == [0, 255, 100]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.0, math.inf, (50, 255)), (-math.inf, 6.0, (0, 62)), (-1000.0, 1000.0, (0, 255))],
)
def test_bounds(low: float, high: float, expected: tuple[int, int]) -> None:
    assert bounds(low, high, Affine(0.5, 50)) == expected
