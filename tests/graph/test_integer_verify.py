"""Broken integer graphs are told in one sentence; sound ones run with every tensor recorded."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dovetail.graph.attributes import GraphError
from dovetail.graph.evaluate import evaluate
from dovetail.graph.graph import Array, Graph, Node, Requant, TensorType
from dovetail.graph.integer import verify


def mean_graph(**changes: Any) -> Graph:
    attrs = {"axes": (1,), "keepdim": False, "x_zero": 0, "requant": Requant((1 << 30,), 32, 0)}
    node = Node("q_mean", ("x",), "y", attrs | changes)
    types = {"x": TensorType((2, 4), "u8"), "y": TensorType((2,), "u8")}
    return Graph("g", ["x"], ["y"], [node], types)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x_zero": 256}, "q_mean y: x_zero is in 0..255, but got 256"),
        (
            {"requant": Requant((1 << 31,), 32, 0)},
            "q_mean y: multipliers are in [0, 2**31), but got (2147483648,)",
        ),
        (
            {"requant": Requant((1,), 63, 0)},
            "q_mean y: shift is in 1..62, but got 63",
        ),
        (
            {"requant": Requant((1,), 32, 0, mode="half")},
            "q_mean y: the mode is one of ('single', 'float', 'tflite'), but got half",
        ),
        (
            {"requant": Requant((1,), 32, 0, low=9, high=3)},
            "q_mean y: 0 <= low <= high <= 255, but got (9, 3)",
        ),
        ({"keepdim": True}, "q_mean y: the output's shape is (2, 1), but got (2,)"),
        ({"axes": (2,)}, "q_mean y: axes must be in 0 to rank - 1, but got (2,)"),
    ],
)
def test_broken_attributes(changes: dict[str, Any], message: str) -> None:
    verify(mean_graph())
    with pytest.raises(GraphError) as error:
        verify(mean_graph(**changes))
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"strides": (4,)}, "move y: each digit has a stride, but got (4,)"),
        (
            {"strides": (-4, 1)},
            "move y: digits have values, and none steps back, but got ((2, 3), (-4, 1))",
        ),
        ({"shape": (7,)}, "move y: the digits number the values, but got ((2, 3), (7,))"),
        ({"offset": 2}, "move y: all elements read are there, but got 8"),
    ],
)
def test_broken_moves(changes: dict[str, Any], message: str) -> None:
    attrs = {"shape": (6,), "extents": (2, 3), "strides": (4, 1), "offset": 1}
    for more, holds in (({}, True), (changes, False)):
        node = Node("move", ("x",), "y", attrs | more)
        types = {"x": TensorType((2, 4), "u8"), "y": TensorType((6,), "u8")}
        if holds:
            verify(Graph("g", ["x"], ["y"], [node], types))
            continue
        with pytest.raises(GraphError) as error:
            verify(Graph("g", ["x"], ["y"], [node], types))
        assert str(error.value) == message


def test_wrong_elements() -> None:
    graph = mean_graph()
    graph.types["x"] = TensorType((2, 4), "i8")
    with pytest.raises(GraphError) as error:
        verify(graph)
    assert str(error.value) == "q_mean y: the inputs' elements are ('u8',), but got ('i8',)"


def test_reading_before_defining() -> None:
    graph = mean_graph()
    graph.nodes[0] = Node("reshape", ("z",), "y", {"shape": (2,)})
    graph.types["z"] = TensorType((2,), "u8")
    with pytest.raises(GraphError) as error:
        verify(graph)
    assert str(error.value) == (
        "reshape y: inputs must be defined before they are read, but got ['z']"
    )


def test_a_float_operator_is_refused() -> None:
    graph = mean_graph()
    graph.nodes[0] = Node("relu", ("x",), "y")
    with pytest.raises(GraphError, match="quantize the float graph first"):
        verify(graph)


def test_wrong_inputs() -> None:
    with pytest.raises(GraphError) as error:
        evaluate(mean_graph(), [np.zeros((2, 4), np.float32)])
    assert str(error.value) == ("g: input x is u8 of shape (2, 4), but got float32 of shape (2, 4)")
    with pytest.raises(GraphError) as error:
        evaluate(mean_graph(), [])
    assert str(error.value) == "g: takes 1 inputs, but got 0"


def test_record_sees_every_tensor_in_order() -> None:
    seen: dict[str, Array] = {}
    x = np.full((2, 4), 200, np.uint8)
    (y,) = evaluate(mean_graph(), [x], record=seen.__setitem__)
    assert list(seen) == ["x", "y"]
    assert (seen["x"] == x).all() and (seen["y"] == y).all() and y.tolist() == [200, 200]
