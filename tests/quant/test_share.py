"""Movement ties affine maps where no reader loses by it; what no reader needs is left out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from dovetail.graph.evaluate import evaluate
from dovetail.graph.evaluate_float import evaluate_float
from dovetail.graph.graph import Array, Graph
from dovetail.quant.affine import affine_of, dequantize_outputs, quantize_inputs
from dovetail.quant.analyze import sqnr
from dovetail.quant.need import needed
from dovetail.quant.plan import plan
from dovetail.quant.quantize import quantize
from dovetail.quant.share import share

Build = Callable[..., Graph]
Range = tuple[float, float]
RNG = np.random.default_rng(3)
W = RNG.standard_normal((8, 8)) * 0.3
IMAGE = {"x": (1, 4, 9, 9)}
POOL = {"kernel": (3, 3), "stride": (2, 2), "padding": ((0, 0), (0, 0)), "dilation": (1, 1)}
BORDER = ((0, 0), (0, 0), (1, 1), (1, 1))


def shared(graph: Graph, ranges: Mapping[str, Range]) -> dict[str, Range]:
    return share(graph, plan(graph), ranges)


def test_movement_shares_one_map(build: Build) -> None:
    lines: list[Any] = [
        ("a", "silu", "x", {}),
        ("b", "cat", ("a", "y"), {"axis": 0}),
        ("c", "reshape", "b", {"shape": (32,)}),
        ("d", "tanh", "c", {}),
    ]
    graph = build({"x": (2, 8), "y": (2, 8)}, lines)
    ranges = {name: (-1.0, 1.0) for name in "xad"} | dict.fromkeys("ybc", (-50.0, 2.0))
    found = shared(graph, ranges)
    assert found == dict.fromkeys("xd", (-1.0, 1.0)) | dict.fromkeys("aybc", (-50.0, 2.0))


@pytest.mark.parametrize(("wide", "tied"), [(1.2, True), (1.3, False)])
def test_a_tensor_that_is_read_elsewhere_keeps_its_map(
    build: Build, wide: float, tied: bool
) -> None:
    lines: list[Any] = [("c", "cat", "xy", {"axis": 0}), ("t", "tanh", "x", {})]
    graph = build({"x": (2, 8), "y": (2, 8)}, lines, ["c", "t"])
    found = shared(graph, {"x": (0, 1), "y": (0, wide), "c": (0, wide), "t": (0, 1)})
    assert found["y"] == found["c"] == (0, wide)
    assert (found["x"] == found["c"]) is tied


def test_small_steps_do_not_add_up(build: Build) -> None:
    lines: list[Any] = [
        ("b", "cat", "xy", {"axis": 0}),
        ("c", "cat", "bz", {"axis": 0}),
        ("t", "tanh", "x", {}),
        ("u", "tanh", "c", {}),
    ]
    graph = build({name: (2, 8) for name in "xyz"}, lines, "tu")
    ranges = dict.fromkeys("xtu", (0.0, 1.0)) | dict.fromkeys("yb", (0.0, 1.2))
    found = shared(graph, ranges | dict.fromkeys("zc", (0.0, 1.44)))
    assert [found[name][1] for name in "xybzc"] == [1.2, 1.2, 1.2, 1.44, 1.44]


def test_a_tensor_that_only_wide_readers_read_is_tied(build: Build) -> None:
    lines: list[Any] = [
        ("r", "reshape", "x", {"shape": (2, 4)}),
        ("b", "cat", "ry", {"axis": 0}),
        ("c", "cat", "ybr", {"axis": 0}),
    ]
    graph = build({"x": (8,), "y": (2, 4)}, lines)
    found = shared(graph, {"x": (0, 1), "r": (0, 1)} | dict.fromkeys("ybc", (0.0, 9.0)))
    assert set(found.values()) == {(0.0, 9.0)}


def test_a_softmax_is_not_tied_to_a_wider_range(build: Build) -> None:
    lines: list[Any] = [
        ("s", "softmax", "x", {"axis": 1}),
        ("r", "reshape", "s", {"shape": (2, 8)}),
        ("b", "cat", ("r", "y"), {"axis": 0}),
        ("p", "pad", "r", {"pads": ((0, 0), (1, 1)), "value": -1.0}),
    ]
    graph = build({"x": (2, 8), "y": (2, 8)}, lines, "bp")
    ranges = dict.fromkeys("sr", (0.0, 0.5)) | dict.fromkeys("xyb", (-1.0, 9.0)) | {"p": (-1, 0.5)}
    found = shared(graph, ranges)
    assert found["s"] == found["r"] == (0, 0.5) and found["p"] == (-1, 0.5)
    assert found["b"] == found["y"] == (-1, 9)


def test_what_no_reader_tells_apart_is_not_needed(build: Build) -> None:
    lines: list[Any] = [
        ("a", "neg", "x", {}),
        ("p", "pad", "a", {"pads": BORDER, "value": -1e9}),
        ("m", "max_pool2d", "p", POOL),
        ("c", "cat", "mm", {"axis": 1}),
        ("k", "clamp", "c", {"low": 0.0, "high": 6.0}),
        ("r", "relu", "c", {}),
    ]
    graph = build(IMAGE, lines, "kr")
    ranges = (
        dict.fromkeys("xa", (-20.0, 5.0)) | {"p": (-1e9, 5.0)} | dict.fromkeys("mc", (-9.0, 5.0))
    )
    found = needed(graph, plan(graph), ranges | dict.fromkeys("kr", (0.0, 5.0)))
    assert found["x"] == (-20, 5)
    assert {found[name] for name in "apmckr"} == {(0.0, 5.0)}


def outputs(graph: Graph, integer: Graph, batch: Sequence[Array]) -> list[float]:
    """The SQNR of each output in dB."""
    came = dequantize_outputs(integer, evaluate(integer, quantize_inputs(integer, batch)))
    real = evaluate_float(graph, batch)
    return [sqnr(left, right) for left, right in zip(real, came, strict=True)]


def images(count: int = 4) -> list[list[Array]]:
    rng = np.random.default_rng(5)
    return [[rng.standard_normal((1, 4, 9, 9)).astype(np.float32)] for _ in range(count)]


FAR: dict[str, tuple[list[Any], str]] = {
    "cat": (
        [
            ("h", "mul", "xk", {}),
            ("g", "tanh", "x", {}),
            ("y", "cat", "gh", {"axis": 1}),
            ("z", "linear", "gw", {}),
        ],
        "yz",
    ),
    "pad": (
        [
            ("g", "tanh", "x", {}),
            ("y", "pad", "g", {"pads": BORDER, "value": 50.0}),
            ("z", "linear", "gw", {}),
        ],
        "yz",
    ),
    "reshape": (
        [
            ("g", "tanh", "x", {}),
            ("r", "reshape", "g", {"shape": (1, 4, 81)}),
            ("h", "mul", "rk", {}),
            ("y", "cat", "rh", {"axis": 1}),
            ("z", "linear", "gw", {}),
        ],
        "yz",
    ),
    "max_pool": (
        [
            ("g", "tanh", "x", {}),
            ("m", "max_pool2d", "g", POOL),
            ("y", "pad", "m", {"pads": BORDER, "value": -50.0}),
            ("z", "linear", "gw", {}),
        ],
        "yz",
    ),
    "softmax": (
        [
            ("s", "softmax", "x", {"axis": 3}),
            ("y", "pad", "s", {"pads": BORDER, "value": -1.0}),
        ],
        "ys",
    ),
}
KNOWN = {"w": RNG.standard_normal((5, 9)) * 0.3, "k": np.array(100.0)}


@pytest.mark.parametrize("case", FAR)
def test_a_far_value_costs_other_readers_nothing(build: Build, case: str) -> None:
    lines, names = FAR[case]
    graph = build(IMAGE, lines, names, KNOWN)
    integer = quantize(graph, images())
    assert min(outputs(graph, integer, images()[0])) >= 34
    assert affine_of(integer, names[0]).scale > 1.5 * affine_of(integer, names[1]).scale


@pytest.mark.parametrize("value", [-math.inf, -1e9, float(np.finfo(np.float32).min), -3.0])
def test_pads_that_never_win_are_like_infinite_ones(build: Build, value: float) -> None:
    lines: list[Any] = [
        ("g", "tanh", "x", {}),
        ("p", "pad", "g", {"pads": BORDER, "value": value}),
        ("y", "max_pool2d", "p", POOL),
    ]
    graph = build(IMAGE, lines)
    integer = quantize(graph, images())
    assert outputs(graph, integer, images()[0])[0] >= 38
    assert [node.op for node in integer.nodes] == ["lookup", "pad", "max_pool2d"]
    assert integer.nodes[1].attrs["value"] == 0


def test_windows_of_nothing_but_far_pads_show_them(build: Build) -> None:
    wide = ((0, 0), (0, 0), (3, 0), (0, 0))
    lines: list[Any] = [
        ("p", "pad", "x", {"pads": wide, "value": -90.0}),
        ("y", "max_pool2d", "p", POOL),
    ]
    graph = build(IMAGE, lines)
    integer = quantize(graph, images())
    assert affine_of(integer, "y").scale > 90 / 255
    assert outputs(graph, integer, images()[0])[0] >= 34


def test_what_would_not_win_a_bit_is_kept(build: Build) -> None:
    graph = build(IMAGE, [("a", "neg", "x", {}), ("m", "max_pool2d", "a", POOL)])
    ranges = dict.fromkeys("xa", (-1.0, 1.0)) | {"m": (-0.1, 1.0)}
    assert needed(graph, plan(graph), ranges) == ranges
