"""Calibration data that cannot be used is refused in one clear sentence; good data streams."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from dovetail.graph.graph import Array, Graph
from dovetail.options.checks import InputError
from dovetail.quant.errors import CalibrationError
from dovetail.quant.quantize import quantize
from dovetail.quant.recipe import Recipe

Build = Callable[..., Graph]
GOOD = np.ones((2, 3), np.float32)


@pytest.fixture
def graph(build: Build) -> Graph:
    return build({"x": (2, 3), "y": (2, 3)}, [("z", "add", "xy", {})])


def refusal(graph: Graph, calibration: Any) -> str:
    with pytest.raises(CalibrationError) as error:
        quantize(graph, calibration)
    return str(error.value)


def test_no_batch(graph: Graph) -> None:
    assert refusal(graph, []) == ("calibration: at least one batch is needed, but there was none")


def test_wrong_number_of_arrays(graph: Graph) -> None:
    start = "calibration: a batch is a list of 2 arrays, one an input, but batch 2 is "
    assert refusal(graph, [[GOOD, GOOD], [GOOD]]) == start + "1 arrays"
    assert refusal(graph, [[GOOD, GOOD], GOOD]) == start + "of type ndarray"


@pytest.mark.parametrize("shape", [(2, 4), (3, 3), (2, 3, 1), (0, 3)])
def test_wrong_shape(graph: Graph, shape: tuple[int, ...]) -> None:
    assert refusal(graph, [[GOOD, np.ones(shape)]]) == (
        "calibration: inputs have the shapes [(2, 3), (2, 3)] (or several of them along the "
        f"first axis), but batch 1 has [(2, 3), {shape}]"
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_not_finite(graph: Graph, bad: float) -> None:
    assert refusal(graph, [[GOOD, GOOD], [GOOD, GOOD * bad]]) == (
        "calibration: every value must be finite, but batch 2 has NaN or infinities"
    )


def test_overflow_inside_the_model(graph: Graph) -> None:
    huge = np.full((2, 3), 3e38, np.float32)
    assert refusal(graph, [[huge, huge]]) == (
        "calibration: every tensor must be finite, but z became NaN or infinite"
    )


def test_unknown_mode(graph: Graph) -> None:
    with pytest.raises(InputError) as error:
        quantize(graph, [[GOOD, GOOD]], Recipe(mode="half"))
    assert str(error.value) == (
        "mode (--requantize): must be one of single, float, tflite, but got 'half'"
    )


def test_a_batch_may_hold_several(graph: Graph) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 6, 3)).astype(np.float32)
    single = [[x[i : i + 2], y[i : i + 2]] for i in (0, 2, 4)]
    assert quantize(graph, [[x, y]]).types == quantize(graph, single).types


def test_a_scalar_is_a_batch(build: Build) -> None:
    graph = build({"x": ()}, [("y", "sigmoid", "x", {})])
    integer = quantize(graph, [[np.ones(())], [np.zeros(())]])
    assert integer.types["y"].shape == ()


def test_batches_are_not_kept(graph: Graph) -> None:
    alive: list[int] = []

    class Batch(list[Array]):
        def __del__(self) -> None:
            alive.append(-1)

    def stream() -> Iterator[Sequence[Array]]:
        for _ in range(5):
            alive.append(1)
            assert sum(alive) <= 2
            yield Batch([GOOD, GOOD])

    quantize(graph, stream())
    assert alive.count(1) == 5
