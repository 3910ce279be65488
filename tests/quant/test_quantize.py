"""Whole graphs: each operator's integer form is near its float meaning, in every mode."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dovetail.graph.evaluate import evaluate
from dovetail.graph.evaluate_float import evaluate_float
from dovetail.graph.fold import fold
from dovetail.graph.graph import Affine, Array, Graph
from dovetail.quant.affine import affine_of, dequantize_outputs, quantize_inputs
from dovetail.quant.analyze import analyze, sqnr
from dovetail.quant.errors import CalibrationError, QuantizationError
from dovetail.quant.quantize import quantize
from dovetail.quant.recipe import Recipe

Build = Callable[..., Graph]
RNG = np.random.default_rng(7)
IMAGE: dict[str, tuple[int, ...]] = {"x": (1, 6, 9, 11)}
CONV: dict[str, Any] = {
    "stride": (2, 1),
    "padding": ((1, 1), (0, 2)),
    "dilation": (1, 2),
    "groups": 1,
}
POOL: dict[str, Any] = {"kernel": (3, 2), "stride": (2, 2), "padding": ((1, 1), (0, 1))}
AVERAGE: dict[str, Any] = {**POOL, "count_include_pad": True, "divisor": None}
KNOWN = {
    "w": RNG.standard_normal((8, 6, 3, 3)) * 0.2,
    "wd": RNG.standard_normal((12, 1, 3, 3)) * 0.3,
    "wg": RNG.standard_normal((4, 3, 1, 1)) * 0.3,
    "bias": RNG.standard_normal(8),
    "fc": RNG.standard_normal((5, 11)) * 0.3,
    "fcb": RNG.standard_normal(5),
    "right": RNG.standard_normal((11, 5)) * 0.3,
    "row": RNG.standard_normal(11),
    "channel": RNG.standard_normal((6, 1, 1)),
    "half": np.array(0.5),
}

# Name -> inputs, lines, the integer operators, the least SQNR in dB.
CASES: dict[str, tuple[Any, list[Any], list[str], float]] = {
    "conv": (IMAGE, [("y", "conv2d", ("x", "w", "bias"), CONV)], ["q_conv2d"], 35),
    "conv_relu": (
        IMAGE,
        [("c", "conv2d", ("x", "w"), CONV), ("y", "relu", ("c",), {})],
        ["q_conv2d"],
        35,
    ),
    "depthwise": (
        IMAGE,
        [("y", "conv2d", ("x", "wd"), {**CONV, "groups": 6})],
        ["q_conv2d"],
        33,
    ),
    "grouped": (IMAGE, [("y", "conv2d", ("x", "wg"), {**CONV, "groups": 2})], ["q_conv2d"], 35),
    "linear": (IMAGE, [("y", "linear", ("x", "fc", "fcb"), {})], ["q_linear"], 35),
    "constant_matmul": (IMAGE, [("y", "matmul", ("x", "right"), {})], ["q_linear"], 35),
    "matmul": (
        {"a": (2, 3, 5, 7), "b": (3, 7, 4)},
        [("y", "matmul", ("a", "b"), {})],
        ["q_matmul"],
        33,
    ),
    "add": ({"a": (2, 6), "b": (6,)}, [("y", "add", ("a", "b"), {})], ["q_add"], 35),
    "sub": ({"a": (2, 6), "b": (2, 1)}, [("y", "sub", ("a", "b"), {})], ["q_add"], 35),
    "sub_from": (IMAGE, [("y", "sub", ("row", "x"), {})], ["q_add"], 35),
    "mul": ({"a": (2, 6), "b": (6,)}, [("y", "mul", ("a", "b"), {})], ["q_mul"], 33),
    "mul_row": (IMAGE, [("y", "mul", ("x", "row"), {})], ["q_mul"], 33),
    "mean": (IMAGE, [("y", "mean", ("x",), {"axes": (2, 3), "keepdim": True})], ["q_mean"], 35),
    "average": (IMAGE, [("y", "avg_pool2d", ("x",), AVERAGE)], ["q_avg_pool2d"], 33),
    "divisor": (
        IMAGE,
        [("y", "avg_pool2d", ("x",), {**AVERAGE, "divisor": 4})],
        ["q_avg_pool2d"],
        33,
    ),
    "max": (IMAGE, [("y", "max_pool2d", ("x",), {**POOL, "dilation": (1, 1)})], ["max_pool2d"], 35),
    "table": (
        IMAGE,
        [("a", "hardswish", ("x",), {}), ("y", "mul", ("a", "half"), {})],
        ["lookup"],
        33,
    ),
    "softmax": (IMAGE, [("y", "softmax", ("x",), {"axis": 3})], ["q_softmax"], 25),
    "cat": (
        {"a": (2, 6), "b": (2, 3)},
        [("y", "cat", ("a", "b", "a"), {"axis": 1})],
        ["cat"],
        35,
    ),
    "pad": (
        {"a": (2, 6)},
        [("y", "pad", ("a",), {"pads": ((0, 1), (2, 0)), "value": -3.0})],
        ["pad"],
        35,
    ),
    "move": (
        IMAGE,
        [
            ("s", "slice", ("x",), {"axis": 1, "start": 1, "stop": 6, "step": 2}),
            ("p", "permute", ("s",), {"axes": (0, 2, 3, 1)}),
            ("r", "reshape", ("p",), {"shape": (99, 1, 3)}),
            ("y", "expand", ("r",), {"shape": (99, 2, 3)}),
        ],
        ["slice", "permute", "reshape", "expand"],
        35,
    ),
}


def batches(graph: Graph, count: int = 3, seed: int = 0) -> list[list[Array]]:
    rng = np.random.default_rng(seed)
    shapes = [graph.types[name].shape for name in graph.inputs]
    return [[rng.standard_normal(s).astype(np.float32) for s in shapes] for _ in range(count)]


def difference(graph: Graph, integer: Graph, batch: list[Array]) -> float:
    """The SQNR of the first output in dB."""
    came = dequantize_outputs(integer, evaluate(integer, quantize_inputs(integer, batch)))
    return sqnr(evaluate_float(graph, batch)[0], came[0])


@pytest.mark.parametrize("mode", ["single", "float", "tflite"])
@pytest.mark.parametrize("case", CASES)
def test_each_operator_is_near_its_float_meaning(build: Build, case: str, mode: str) -> None:
    inputs, lines, expected, least = CASES[case]
    graph = build(inputs, lines, constants=KNOWN)
    calibration = batches(graph)
    integer = quantize(graph, calibration, Recipe(mode=mode))
    assert [node.op for node in integer.nodes] == expected
    assert difference(graph, integer, calibration[0]) >= least
    kind = integer.types[integer.outputs[0]]
    assert kind.element == "u8" and kind.shape == graph.types["y"].shape


@pytest.mark.parametrize("mode", ["single", "float", "tflite"])
def test_a_number_a_channel_is_not_rounded_to_8_bits(build: Build, mode: str) -> None:
    graph = build(IMAGE, [("y", "mul", ("channel", "x"), {})], constants=KNOWN)
    calibration = batches(graph)
    fold(graph)
    integer = quantize(graph, calibration, Recipe(mode=mode))
    assert [node.op for node in integer.nodes] == ["q_conv2d"]
    assert difference(graph, integer, calibration[0]) >= 35


@pytest.mark.parametrize("size", [2, 5, 8])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_average_without_padding_in_the_count(build: Build, size: int, stride: int) -> None:
    attrs = {
        "kernel": (3, 2),
        "stride": (stride, 1),
        "padding": ((1, 1), (1, 0)),
        "count_include_pad": False,
        "divisor": None,
    }
    graph = build({"x": (1, 2, size, 7)}, [("y", "avg_pool2d", "x", attrs)])
    calibration = batches(graph)
    integer = quantize(graph, calibration)
    assert {node.op for node in integer.nodes} == {"slice", "q_avg_pool2d", "cat"}
    assert difference(graph, integer, calibration[0]) >= 33


def test_clamps_become_bounds_of_the_requantization(build: Build) -> None:
    clamp = {"low": -0.5, "high": 1.0}
    lines: list[Any] = [("c", "conv2d", ("x", "w"), CONV), ("y", "clamp", ("c",), clamp)]
    graph = build(IMAGE, lines, constants=KNOWN)
    integer = quantize(graph, batches(graph))
    zero = affine_of(integer, "y").zero_point
    requant: Any = integer.nodes[0].attrs["requant"]
    assert (requant.low, requant.high, requant.zero_point) == (0, 255, zero)
    assert affine_of(integer, "y").scale == pytest.approx(1.5 / 255)


def test_a_clamp_inside_the_shared_range_still_clamps(build: Build) -> None:
    lines: list[Any] = [
        ("c", "mean", ("x",), {"axes": (3,), "keepdim": True}),
        ("d", "clamp", ("c",), {"low": -0.1, "high": 0.1}),
        ("y", "cat", ("x", "d"), {"axis": 3}),
    ]
    graph = build(IMAGE, lines)
    integer = quantize(graph, batches(graph))
    requant: Any = integer.nodes[0].attrs["requant"]
    of = affine_of(integer, "d")
    assert of == affine_of(integer, "y") == affine_of(integer, "x")
    assert requant.low == of.zero_point + round(-0.1 / of.scale) > 0
    assert requant.high == of.zero_point + round(0.1 / of.scale) < 255


def test_softmax_keeps_its_map_and_joins_others_by_a_table(build: Build) -> None:
    lines: list[Any] = [("s", "softmax", "x", {"axis": 1}), ("y", "cat", "sx", {"axis": 0})]
    graph = build({"x": (4, 4)}, lines)
    calibration = batches(graph)
    integer = quantize(graph, calibration)
    assert [node.op for node in integer.nodes] == ["q_softmax", "lookup", "cat"]
    assert affine_of(integer, "s") == Affine(1 / 256, 0)
    assert difference(graph, integer, calibration[0]) >= 33


def test_names_do_not_collide(build: Build) -> None:
    known = {"y.weight": KNOWN["w"], "y.bias": KNOWN["bias"]}
    lines: list[Any] = [("y", "conv2d", ("x", "y.weight", "y.bias"), CONV)]
    graph = build(IMAGE, lines, constants=known)
    assert quantize(graph, batches(graph)).nodes[0].inputs == ("x", "y.weight_", "y.bias_")


def test_inputs_and_constants_may_be_outputs(build: Build) -> None:
    lines: list[Any] = [("y", "add", ("x", "row"), {})]
    graph = build({"x": (2, 11)}, lines, ["x", "row", "y"], KNOWN)
    integer = quantize(graph, batches(graph))
    came = evaluate(integer, quantize_inputs(integer, batches(graph)[0]))
    real = evaluate_float(graph, batches(graph)[0])
    for left, right in zip(dequantize_outputs(integer, came), real, strict=True):
        assert sqnr(right, left) > 30


def test_the_observer_matters(build: Build) -> None:
    graph = build({"x": (1, 20000)}, [("y", "relu", "x", {})])
    calibration = batches(graph)
    calibration[0][0][0, 0] = 1000.0
    wide = quantize(graph, calibration, Recipe(observer="minmax"))
    narrow = quantize(graph, calibration, Recipe(observer="percentile"))
    assert affine_of(narrow, "y").scale < affine_of(wide, "y").scale / 50


def test_computed_weights_are_refused(build: Build) -> None:
    graph = build({"x": (2, 4), "w": (3, 4)}, [("y", "linear", "xw", {})])
    with pytest.raises(QuantizationError) as error:
        quantize(graph, batches(graph))
    assert str(error.value) == (
        "linear y: weight and bias must be constants, but w is computed; write it as matmul and add"
    )


def test_factors_beyond_the_proven_shift_keep_their_value(build: Build) -> None:
    """Accumulators of 26 bits can shift by 5, the factor after them needs 7."""
    weight = np.full((1, 2000), 16000.0)
    weight[0, :2] = 0.0, 126.0
    lines: list[Any] = [("a", "linear", "xw", {}), ("y", "clamp", "a", {"low": 0.0, "high": 1.0})]
    graph = build({"x": (4, 2000)}, lines, constants={"w": weight})
    batch = [np.zeros((4, 2000), np.float32)]
    batch[0][:, 0], batch[0][:, 1] = 1.0, np.arange(4) / 255
    assert difference(graph, quantize(graph, [batch]), batch) >= 40


def test_long_products_are_refused(build: Build) -> None:
    graph = build({"a": (1, 40000), "b": (40000, 1)}, [("y", "matmul", "ab", {})])
    with pytest.raises(QuantizationError, match="accumulators must fit i32, but they can reach"):
        quantize(graph, [[np.ones((1, 40000)), np.ones((40000, 1))]])


def test_the_same_calls_give_the_same_graph(build: Build) -> None:
    inputs, lines, _, _ = CASES["conv_relu"]
    graph = build(inputs, lines, constants=KNOWN)
    first, second = (quantize(graph, batches(graph)) for _ in range(2))
    assert str(first) == str(second) and first.types == second.types
    assert all((first.constants[n] == second.constants[n]).all() for n in first.constants)


def test_analysis_tells_total_and_own_error(build: Build) -> None:
    lines: list[Any] = [
        ("c", "conv2d", ("x", "w"), CONV),
        ("t", "tanh", ("c",), {}),
        ("m", "max_pool2d", ("t",), {**POOL, "dilation": (1, 1)}),
    ]
    graph = build(IMAGE, lines, constants=KNOWN)
    calibration = batches(graph)
    layers = analyze(graph, quantize(graph, calibration), calibration)
    assert [(layer.name, layer.op) for layer in layers] == [
        ("c", "q_conv2d"),
        ("t", "lookup"),
        ("m", "max_pool2d"),
    ]
    assert all(25 < layer.total <= layer.own + 0.5 for layer in layers)
    with pytest.raises(CalibrationError, match="at least one batch"):
        analyze(graph, quantize(graph, calibration), [])
