"""Corrected biases: layers have the float layers' means, behind clamps and other layers, too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dovetail.driver import zoo
from dovetail.driver.prepare import floating
from dovetail.graph.evaluate import evaluate
from dovetail.graph.evaluate_float import evaluate_float
from dovetail.graph.graph import Array, Graph
from dovetail.quant.affine import affine_of, dequantize_outputs, quantize_inputs
from dovetail.quant.analyze import analyze, sqnr
from dovetail.quant.calibrate import graph_batches
from dovetail.quant.quantize import quantize
from dovetail.quant.recipe import Recipe

Build = Callable[..., Graph]
CORRECTED = Recipe(algorithms=("bias_correction",))
RNG = np.random.default_rng(5)
CONV = {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 1}


def weights(large: float, *shape: int) -> NDArray[Any]:
    """Small ones that are not 0 in the mean; one large one a channel makes their steps coarse."""
    made = RNG.normal(large / 240, large / 480, shape)
    made.reshape(shape[0], -1)[:, 3] = large
    return made


KNOWN = {
    "v": weights(9.0, 4, 1, 3, 3),
    "b": RNG.normal(size=4),
    "w": weights(5.0, 4, 4, 2, 2),
    "m": weights(4.0, 1, 64),
}
LINES: list[Any] = [
    ("a", "conv2d", ("x", "v", "b"), CONV),
    ("c", "relu", "a", {}),
    ("d", "conv2d", "cw", CONV | {"stride": (2, 2), "padding": ((0, 0), (0, 0))}),
    ("f", "clamp", "d", {"low": -9.0, "high": 40.0}),
    ("g", "reshape", "f", {"shape": (1, 64)}),
    ("y", "linear", "gm", {}),
]


@pytest.fixture
def graph(build: Build) -> Graph:
    return build({"x": (1, 1, 8, 8)}, LINES, ["f", "y"], constants=KNOWN)


def batches(count: int, seed: int) -> list[list[Array]]:
    rng = np.random.default_rng(seed)
    return [[np.abs(rng.normal(size=(1, 1, 8, 8))).astype(np.float32)] for _ in range(count)]


def means(integer: Graph, graph: Graph, data: list[list[Array]]) -> list[NDArray[Any]]:
    """How far the integer outputs' means by channel are from the float ones, in steps."""
    real = [evaluate_float(graph, batch) for batch in data]
    came = [
        dequantize_outputs(integer, evaluate(integer, quantize_inputs(integer, batch)))
        for batch in data
    ]
    away = [np.mean([c[i] - r[i] for c, r in zip(came, real, strict=True)], axis=0) for i in (0, 1)]
    steps = [affine_of(integer, name).scale for name in integer.outputs]
    return [
        np.abs(away[0].mean(axis=(0, 2, 3))) / steps[0],
        np.abs(away[1].mean(axis=0)) / steps[1],
    ]


def test_layers_have_the_float_means(graph: Graph) -> None:
    data = batches(32, 0)
    plain, corrected = (quantize(graph, data, recipe) for recipe in (Recipe(), CORRECTED))
    before, after = means(plain, graph, data), means(corrected, graph, data)
    assert before[0].max() > 1 and after[0].max() < 0.1
    assert before[1].max() > 0.4 and after[1].max() < 0.1


def test_it_holds_for_data_that_was_not_seen(graph: Graph) -> None:
    seen, other = batches(8, 0), batches(8, 1)
    plain, corrected = (
        {layer.name: layer.total for layer in analyze(graph, quantize(graph, seen, recipe), other)}
        for recipe in (Recipe(), CORRECTED)
    )
    assert corrected["f"] > plain["f"] + 1 and corrected["y"] > plain["y"]


def test_nothing_but_biases_changes(graph: Graph) -> None:
    before = {name: array.copy() for name, array in graph.constants.items()}
    plain, corrected = (quantize(graph, batches(2, 0), recipe) for recipe in (Recipe(), CORRECTED))
    assert plain.nodes == corrected.nodes and plain.types == corrected.types
    other = {
        name
        for name, array in plain.constants.items()
        if not np.array_equal(array, corrected.constants[name])
    }
    assert other == {"c.bias", "f.bias", "y.bias"}
    assert all(np.array_equal(graph.constants[name], array) for name, array in before.items())


def test_a_channel_that_a_clamp_holds_takes_little(build: Build) -> None:
    """Where no result is free to move, a bias could go anywhere."""
    known = {"w": np.ones((2, 4)), "b": np.array([-100.0, 1.0])}
    lines: list[Any] = [("a", "linear", "xwb", {}), ("y", "relu", "a", {})]
    graph = build({"x": (3, 4)}, lines, constants=known)
    data = [[np.ones((3, 4), np.float32)]]
    plain, corrected = (quantize(graph, data, recipe) for recipe in (Recipe(), CORRECTED))
    assert corrected.constants["y.bias"][0] == plain.constants["y.bias"][0]


def test_a_zoo_model_gets_better() -> None:
    module, inputs = zoo.build("resnet8")
    graph, _, given = floating(module, inputs, zoo.calibration("resnet8"))
    data = list(graph_batches(graph, given))
    seen, other = data[: len(data) // 2], data[len(data) // 2 :]

    def ratio(recipe: Recipe) -> float:
        integer = quantize(graph, seen, recipe)
        real = [evaluate_float(graph, batch)[0] for batch in other]
        came = [
            dequantize_outputs(integer, evaluate(integer, quantize_inputs(integer, batch)))[0]
            for batch in other
        ]
        return sqnr(np.stack(real), np.stack(came))

    assert ratio(CORRECTED) > ratio(Recipe()) + 2
