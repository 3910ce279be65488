"""Kernel columns become the channels of images that have one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dovetail.graph.evaluate import evaluate
from dovetail.graph.graph import Graph, Node, Requant, TensorType
from dovetail.graph.integer import macs, verify
from dovetail.graph.row_taps import RowTaps, row_taps

RNG = np.random.default_rng(11)


def convolution(
    shape: tuple[int, ...],
    outputs: int,
    kernel: tuple[int, int],
    stride: tuple[int, int] = (1, 1),
    padding: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0)),
    dilation: tuple[int, int] = (1, 1),
) -> Graph:
    """One convolution, its weights drawn."""
    graph = Graph("test", ["x"], ["y"])
    weight = RNG.integers(-127, 128, (outputs, shape[1], *kernel)).astype(np.int8)
    bias = RNG.integers(-9000, 9000, outputs).astype(np.int32)
    graph.constants = {"w": weight, "b": bias}
    size = [(n + sum(p) - (k - 1) * d - 1) // s + 1 for n, p, k, d, s in
            zip(shape[2:], padding, kernel, dilation, stride, strict=True)]  # fmt: skip
    graph.types = {"x": TensorType(shape, "u8"), "w": TensorType(weight.shape, "i8"),
                   "b": TensorType(bias.shape, "i32"),
                   "y": TensorType((shape[0], outputs, *size), "u8")}  # fmt: skip
    attrs = {"stride": stride, "padding": padding, "dilation": dilation, "groups": 1,
             "x_zero": 77, "requant": Requant((1 << 30,), 41, 90)}  # fmt: skip
    graph.nodes = [Node("q_conv2d", ("x", "w", "b"), "y", attrs)]
    verify(graph)
    return graph


def hold(graph: Graph, made: Graph) -> None:
    verify(made)
    x = RNG.integers(0, 256, graph.types["x"].shape).astype(np.uint8)
    np.testing.assert_array_equal(evaluate(graph, [x])[0], evaluate(made, [x])[0])
    assert sum(macs(made, node) for node in made.nodes) == macs(graph, graph.nodes[0])


@pytest.mark.parametrize(
    ("shape", "outputs", "kernel", "moved"),
    [
        ((1, 1, 49, 10), 64, (10, 4), True),  # narrow rows: pixels would leave lanes empty
        ((1, 1, 128, 128), 16, (5, 5), False),  # wide ones fill them
        ((1, 1, 49, 10), 64, (10, 1), False),
        ((1, 3, 49, 10), 64, (10, 4), False),
        ((1, 1, 3, 10), 4, (3, 3), False),  # a kernel more for few products
    ],
)
def test_which(shape: tuple[int, ...], outputs: int, kernel: tuple[int, int], moved: bool) -> None:
    graph = convolution(shape, outputs, kernel)
    made = row_taps(graph)
    assert [node.op for node in made.nodes] == (["move"] if moved else []) + ["q_conv2d"]
    assert made.nodes[-1].output == "y"
    hold(graph, made)


pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 2), st.tuples(st.integers(1, 5), st.integers(2, 6)), pairs, pairs,
       st.tuples(st.tuples(st.integers(0, 3), st.integers(0, 3)),
                 st.tuples(st.integers(0, 3), st.integers(0, 3))))  # fmt: skip
def test_values(
    images: int,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    padding: tuple[tuple[int, int], tuple[int, int]],
) -> None:
    graph = convolution((images, 1, 14, 19), 5, kernel, stride, padding, dilation)
    taps, made = RowTaps.of(graph, graph.nodes[0]), graph.without_nodes()
    assert taps is not None
    made.nodes = taps.spread(made)
    hold(graph, made)
