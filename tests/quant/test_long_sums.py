"""Means over more elements than i32 can sum become means of means, in integers too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from dovetail.graph.evaluate import evaluate
from dovetail.graph.evaluate_float import evaluate_float
from dovetail.graph.float_graph import verify
from dovetail.graph.graph import Graph
from dovetail.graph.lower import lower_graph
from dovetail.quant import long_sums
from dovetail.quant.affine import dequantize_outputs, quantize_inputs
from dovetail.quant.analyze import sqnr
from dovetail.quant.errors import QuantizationError
from dovetail.quant.long_sums import short_sums
from dovetail.quant.quantize import quantize

Build = Callable[..., Graph]
NONE = ((0, 0), (0, 0))
POOL = {"padding": NONE, "count_include_pad": True, "divisor": None}


def mean(*axes: int, keepdim: bool = False) -> Mapping[str, Any]:
    return {"axes": axes, "keepdim": keepdim}


def average(kernel: tuple[int, int], **more: Any) -> Mapping[str, Any]:
    return {"kernel": kernel, "stride": (2, 1), **POOL, **more}


# Shape, operator, attributes, and the operators that it becomes.
CASES: dict[str, tuple[tuple[int, ...], str, Mapping[str, Any], str]] = {
    "fits": ((4, 10), "mean", mean(1), "mean"),
    "two_axes": ((3, 7, 9), "mean", mean(1, 2), "mean mean"),
    "three_axes": ((7, 9, 3), "mean", mean(0, 1, 2, keepdim=True), "mean mean mean"),
    "one_axis": ((2, 43), "mean", mean(1), "slice mean slice mean slice mean cat mean"),
    "image": ((1, 2, 7, 9), "avg_pool2d", average((7, 9)), "mean mean"),
    "window": ((1, 2, 7, 9), "avg_pool2d", average((5, 5)), "avg_pool2d avg_pool2d"),
    "divisor": ((1, 2, 7, 9), "avg_pool2d", average((5, 5), divisor=4), "avg_pool2d avg_pool2d"),
    "padded": (
        (1, 2, 7, 9),
        "avg_pool2d",
        average((5, 5), padding=((2, 1), (1, 2)), count_include_pad=False),
        "avg_pool2d avg_pool2d",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_parts_have_the_meaning_of_the_whole(
    build: Build, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(long_sums, "LONGEST", 20)
    shape, op, attrs, expected = CASES[case]
    graph = build({"x": shape}, [("y", op, "x", attrs)])
    made = short_sums(graph)
    verify(made)
    assert " ".join(node.op for node in made.nodes) == expected
    batch = [np.random.default_rng(0).standard_normal(shape).astype(np.float32)]
    (real,), (came,) = evaluate_float(graph, batch), evaluate_float(made, batch)
    np.testing.assert_allclose(came, real, atol=0.06 if case == "one_axis" else 1e-6)
    assert lower_graph(quantize(graph, [batch]))


@pytest.mark.parametrize(
    ("shape", "op", "attrs"),
    [
        ((3000, 3000), "mean", mean(0, 1)),
        ((9_000_001,), "mean", mean(0)),
        ((1, 1, 2900, 3000), "avg_pool2d", average((2900, 3000), stride=(1, 1))),
    ],
)
def test_more_elements_than_i32_can_sum(
    build: Build, shape: tuple[int, ...], op: str, attrs: Mapping[str, Any]
) -> None:
    graph = build({"x": shape}, [("y", op, "x", attrs)])
    rng = np.random.default_rng(1)
    batch = [rng.standard_normal(shape, np.float32) + np.float32(0.5)]
    integer = quantize(graph, [batch])
    came = dequantize_outputs(integer, evaluate(integer, quantize_inputs(integer, batch)))[0]
    assert sqnr(evaluate_float(graph, batch)[0], came) >= 40
    assert lower_graph(integer)


def test_windows_too_long_along_one_axis_are_refused(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(long_sums, "LONGEST", 20)
    graph = build({"x": (1, 1, 2, 30)}, [("y", "avg_pool2d", "x", average((1, 25)))])
    with pytest.raises(QuantizationError) as caught:
        short_sums(graph)
    assert str(caught.value) == (
        "avg_pool2d y: a window may have at most 20 rows and columns unless it is the whole "
        "image, but it has (1, 25); use a mean over parts"
    )
