"""Operands that repeat along lanes only are spread over them."""

from __future__ import annotations

import numpy as np
import pytest

from dovetail.graph.evaluate import evaluate
from dovetail.graph.graph import Graph, Node, TensorType
from dovetail.graph.integer import verify
from dovetail.graph.spread import spread

RNG = np.random.default_rng(9)
SUM = {"a_zero": 3, "b_zero": 9, "a_mult": 300, "b_mult": -200, "shift": 8, "zero_point": 5,
       "low": 0, "high": 255}  # fmt: skip


def total(one: tuple[int, ...], other: tuple[int, ...], constant: bool) -> Graph:
    graph = Graph("test", ["a"] if constant else ["a", "b"], ["y"])
    graph.types = {"a": TensorType(one, "u8"), "b": TensorType(other, "u8")}
    if constant:
        graph.constants["b"] = RNG.integers(0, 256, other).astype(np.uint8)
    graph.types["y"] = TensorType(np.broadcast_shapes(one, other), "u8")
    graph.nodes = [Node("q_add", ("a", "b"), "y", SUM)]
    verify(graph)
    return graph


@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize(
    ("one", "other", "wanted"),
    [((1, 3, 5, 6), (6,), (1, 3, 1, 6)), ((1, 4, 5, 6), (1, 1, 5, 6), (1, 4, 5, 6)),
     ((2, 5, 3), (5, 1), (1, 5, 3)), ((1, 200, 5, 6), (6,), None), ((1, 3, 5, 6), (5, 1), None),
     ((2, 5, 4), (4,), None), ((1, 1, 5, 6), (6,), None), ((1, 16, 5, 6), (6,), None),
     ((1, 9, 5, 6), (1, 1, 5, 6), None),
     ((1, 5, 5, 6), (1, 1, 5, 6), (1, 5, 5, 6)), ((2, 5, 16), (5, 1), None)],
)  # fmt: skip
def test_spread(
    one: tuple[int, ...], other: tuple[int, ...], wanted: tuple[int, ...] | None, constant: bool
) -> None:
    graph = total(one, other, constant)
    made = spread(graph)
    verify(made)
    assert made.types[made.nodes[-1].inputs[1]].shape == (wanted or other)
    assert len(made.nodes) == (1 if constant or wanted is None else 2)
    given = [RNG.integers(0, 256, graph.types[x].shape).astype(np.uint8) for x in graph.inputs]
    np.testing.assert_array_equal(evaluate(graph, given)[0], evaluate(made, given)[0])
