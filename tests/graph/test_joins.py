"""Moves that a cat takes over: the same bytes, one kernel less."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dovetail.graph.compose import compose
from dovetail.graph.evaluate import evaluate
from dovetail.graph.fold import remove_dead
from dovetail.graph.graph import Graph, Node, TensorType
from dovetail.graph.integer import infer_shape, reads, verify
from dovetail.graph.joins import join_moves
from dovetail.graph.lower import lower
from dovetail.graph.settle import settle

RNG = np.random.default_rng(10)
Steps = list[tuple[str, dict[str, Any]]]


def joined(shape: tuple[int, ...], steps: Steps, other: tuple[int, ...], axis: int) -> Graph:
    """cat(steps(x), z, z)."""
    graph = Graph("test", ["x", "z"], ["y"])
    graph.types = {"x": TensorType(shape, "u8"), "z": TensorType(other, "u8")}
    nodes = [
        Node(op, (f"t{i - 1}" if i else "x",), f"t{i}", attrs, f"model.py:{i}")
        for i, (op, attrs) in enumerate(steps)
    ]
    nodes.append(Node("cat", ("z", nodes[-1].output, "z"), "y", {"axis": axis}, "model.py:9"))
    for node in nodes:
        graph.nodes.append(node)
        graph.types[node.output] = TensorType(infer_shape(graph, node), "u8")
    verify(graph)
    return graph


CASES: list[tuple[tuple[int, ...], Steps, tuple[int, ...], int]] = [
    ((1, 12, 4, 5), [("reshape", {"shape": (1, 12, 4, 1, 5, 1)}),
                     ("expand", {"shape": (1, 12, 4, 2, 5, 2)}),
                     ("reshape", {"shape": (1, 12, 8, 10)})], (1, 7, 8, 10), 1),
    ((1, 12, 4, 5), [("slice", {"axis": 3, "start": 1, "stop": 5, "step": 2})], (1, 12, 4, 3), 3),
    ((2, 5, 6), [("permute", {"axes": (0, 2, 1)})], (2, 2, 5), 1),
    ((2, 5, 6), [("permute", {"axes": (1, 2, 0)})], (1, 6, 2), 0),
    ((2, 3, 2, 5, 6), [("permute", {"axes": (0, 2, 1, 4, 3)})], (2, 2, 3, 1, 5), 3),
]  # fmt: skip


@pytest.mark.parametrize(("shape", "steps", "other", "axis"), CASES)
def test_a_move_is_done_by_the_cat(
    kit: Any, shape: tuple[int, ...], steps: Steps, other: tuple[int, ...], axis: int
) -> None:
    graph = joined(shape, steps, other, axis)
    made = compose(graph)
    join_moves(made)
    remove_dead(made)
    verify(made)
    (node,) = made.nodes
    origins = [*(f"model.py:{i}" for i in range(len(steps))), "model.py:9"]
    assert node.op == "cat" and node.origin == ", ".join(origins)
    arrays = {name: RNG.integers(0, 256, made.types[name].shape).astype(np.uint8) for name in "xz"}
    (want,) = evaluate(graph, list(arrays.values()))
    np.testing.assert_array_equal(evaluate(made, list(arrays.values()))[0], want)
    for pad in (0, 255):
        came = kit.run(made, lower(made, node), arrays, pad)
        np.testing.assert_array_equal(came, want)


def test_what_the_cat_leaves_out_need_not_be_read() -> None:
    graph = joined(*CASES[1])
    node = settle(graph).nodes[-1]
    assert [reads(graph, node, i) for i in (0, 1)] == [
        12 * 4 * 3, 12 * 4 * 2,
    ]  # fmt: skip


def test_a_move_that_others_read_stays() -> None:
    graph = joined(*CASES[2])
    graph.outputs.append("t0")
    assert [node.op for node in settle(graph).nodes] == ["permute", "cat"]


def test_joined_axes_among_others_stay() -> None:
    shape, steps, _, _ = CASES[4]
    graph = joined(shape, steps, (2, 1, 3, 6, 5), 1)
    assert [node.op for node in settle(graph).nodes] == ["permute", "cat"]


@pytest.mark.parametrize(
    ("shape", "steps", "other", "axis"),
    [((2, 5, 6), [("permute", {"axes": (0, 2, 1)})], (2, 6, 3), 2),
     ((1, 12, 4, 5), [("reshape", {"shape": (1, 2, 6, 4, 5)}),
                      ("permute", {"axes": (0, 2, 1, 3, 4)}),
                      ("reshape", {"shape": (1, 12, 4, 5)})], (1, 7, 4, 5), 1)],
)  # fmt: skip
def test_channels_that_are_taken_apart_are_moved_before(
    shape: tuple[int, ...], steps: Steps, other: tuple[int, ...], axis: int
) -> None:
    made = compose(joined(shape, steps, other, axis))
    before = [node.op for node in made.nodes]
    join_moves(made)
    assert [node.op for node in made.nodes] == before and "moves" not in made.nodes[-1].attrs
