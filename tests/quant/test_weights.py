"""Weights per channel, biases, and the proof that accumulators fit i32."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dovetail.graph.graph import Affine
from dovetail.quant.errors import QuantizationError
from dovetail.quant.fixed import INT32_MAX
from dovetail.quant.weights import SPREAD, quantize_weights

X = Affine(0.02, 30)


@given(st.integers(0, 2**32 - 1), st.floats(-6, 6))
def test_weights_and_biases_are_near_and_fit(seed: int, magnitude: float) -> None:
    rng = np.random.default_rng(seed)
    weight = rng.standard_normal((6, 4, 3, 3)) * 10.0 ** rng.uniform(-9, 3, (6, 1, 1, 1))
    bias = rng.standard_normal(6) * 10.0**magnitude
    made = quantize_weights("conv", weight, bias, X)
    assert np.abs(made.weight.astype(int)).max() <= 127
    scales = np.array(made.scales)
    assert scales.max() / scales.min() <= SPREAD * 1.001
    back = made.weight * scales[:, None, None, None]
    assert (np.abs(back - weight) <= 0.501 * scales[:, None, None, None]).all()
    assert (np.abs(made.bias * scales * X.scale - bias) <= 0.501 * scales * X.scale).all()
    reach = np.abs(made.weight.astype(int)).reshape(6, -1).sum(axis=1) * 225
    assert made.bound == (reach + np.abs(made.bias.astype(int))).max() <= INT32_MAX


def test_dead_channels_keep_their_bias() -> None:
    made = quantize_weights("fc", np.zeros((2, 3)), np.array([0.7, 0.0]), X)
    real = made.bias * np.array(made.scales) * X.scale
    assert (made.weight == 0).all() and np.allclose(real, [0.7, 0.0])


def test_no_bias_is_zero() -> None:
    assert quantize_weights("fc", np.ones((2, 3)), None, X).bias.tolist() == [0, 0]


def test_accumulators_that_do_not_fit() -> None:
    weight = np.ones((1, 70000), np.float32)
    with pytest.raises(QuantizationError) as error:
        quantize_weights("fc", weight, None, Affine(0.1, 0))
    assert str(error.value) == (
        "fc: accumulators must fit i32, but channel 0 can reach 2266950000; "
        "split the reduction into smaller layers"
    )


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_weights_that_are_not_finite(bad: float) -> None:
    with pytest.raises(QuantizationError) as error:
        quantize_weights("fc", np.array([[1.0, bad]]), None, X)
    assert str(error.value) == (
        "fc: weights and biases must be finite, but some are NaN or infinite"
    )
