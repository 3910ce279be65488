"""The map of a softmax: good for rows as calibrated, never far off for sharper ones."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dovetail.graph.evaluate import evaluate
from dovetail.graph.graph import Affine, Array, Graph
from dovetail.quant.affine import affine_of, dequantize_outputs, quantize_inputs
from dovetail.quant.analyze import sqnr
from dovetail.quant.probabilities import Probabilities, cover
from dovetail.quant.quantize import quantize

Build = Callable[..., Graph]


def softmax(scores: Array) -> Array:
    e = np.exp(scores.astype(np.float64) - scores.max(-1, keepdims=True))
    return np.asarray(e / e.sum(-1, keepdims=True), np.float32)


def scores(length: int, sharpness: float, seed: int, rows: int = 32) -> Array:
    drawn = np.random.default_rng(seed).standard_normal((rows, length))
    return np.asarray(drawn * sharpness, np.float32)


# Tokens, sharpness when calibrated: least dB for such rows, for rows twice as sharp, for one-hot.
LIMITS = {
    (16, 1.0): (30, 36, 40),
    (64, 0.5): (22, 25, 40),
    (64, 1.0): (24, 30, 40),
    (512, 0.5): (20, 22, 1.0),
    (512, 1.0): (13, 14, 5),
    (1024, 0.5): (21, 25, 0.5),
    (1024, 1.0): (13, 14, 2.3),
    (1024, 4.0): (33, 35, 40),
}


@pytest.mark.parametrize(("length", "sharpness"), LIMITS)
def test_rows_as_calibrated_and_sharper(length: int, sharpness: float) -> None:
    watch = Probabilities(1)
    for seed in range(4):
        watch.add(softmax(scores(length, sharpness, seed)))
    scale = watch.range()[1] / 255
    for times, least in zip((1, 2, 1000), LIMITS[length, sharpness], strict=True):
        real = softmax(scores(length, sharpness * times, 9))
        held = np.clip(np.rint(real / scale), 0, 255) * scale
        assert sqnr(real, held) >= least, times


@given(st.floats(0.05, 8), st.integers(1, 300), st.integers(0, 2**32 - 1))
def test_the_largest_probability_seen_is_covered(sharpness: float, length: int, seed: int) -> None:
    rows = softmax(scores(length, sharpness, seed, 2))
    watch = Probabilities(1)
    watch.add(rows)
    low, high = watch.range()
    assert low == 0 and high in {cover(exponent) for exponent in range(8, 16)}
    assert high >= min(rows.max(), cover(8))


def test_rows_of_both_kinds_have_the_widest_cover() -> None:
    watch = Probabilities(1)
    watch.add(softmax(scores(1024, 0.5, 0)))
    assert watch.range()[1] < 0.1
    watch.add(softmax(scores(1024, 30, 1)))
    assert watch.range()[1] == cover(8)


def test_nothing_seen_has_a_cover() -> None:
    watch = Probabilities(0)
    watch.add(np.zeros((0, 3), np.float32))
    assert watch.range()[1] == cover(8)


@pytest.mark.parametrize(("length", "least"), [(64, 22), (512, 19), (1024, 20)])
def test_diffuse_rows_keep_their_precision(build: Build, length: int, least: float) -> None:
    graph = build({"x": (32, length)}, [("y", "softmax", "x", {"axis": 1})])
    integer = quantize(graph, [[scores(length, 0.5, seed)] for seed in range(4)])
    batch = [scores(length, 0.5, 9)]
    came = dequantize_outputs(integer, evaluate(integer, quantize_inputs(integer, batch)))[0]
    assert sqnr(softmax(batch[0]), came) >= least
    shift = integer.nodes[0].attrs["shift"]
    assert isinstance(shift, int) and affine_of(integer, "y") == Affine(2.0 ** (shift - 30), 0)
