"""What the model takes and gives is stored in the shape in which operators use it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dovetail.driver.choose import Choice
from dovetail.driver.model_search import program
from dovetail.driver.prepare import ready
from dovetail.driver.runtime import Runtime
from dovetail.graph.borders import stored_shape
from dovetail.graph.evaluate import evaluate
from dovetail.graph.graph import Graph
from dovetail.graph.integer import verify
from dovetail.graph.lower import lower_graph
from dovetail.graph.settle import settle
from dovetail.target.dsp.target import dsp
from tests.graph.graphs import add, graph_of

RNG = np.random.default_rng(11)


def pooled(graph: Graph, x: str) -> str:
    """An operator that images alone have."""
    ways = {"kernel": (1, 3), "stride": (1, 1), "dilation": (1, 1), "padding": ((0, 0), (1, 1))}
    return add(graph, "max_pool2d", x, **ways)


def sequence(images: int = 1) -> Graph:
    """A sequence that only an image's operator reads and makes."""
    graph = graph_of((images, 40, 61))
    y = pooled(graph, add(graph, "reshape", "x0", shape=(images, 40, 1, 61)))
    graph.outputs = [add(graph, "reshape", y, shape=(images, 40, 61))]
    return graph


def runs(graph: Graph) -> None:
    """The compiled graph gives the evaluator's bytes."""
    verify(graph)
    made = ready(graph, dsp())
    choices = {task.key: Choice.of(task, task.default) for task in made.tasks}
    given = [RNG.integers(0, 256, graph.types[x].shape).astype(np.uint8) for x in graph.inputs]
    found = Runtime(made, choices, program(made, choices)).run(given)
    for one, other in zip(found, evaluate(graph, given), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("images", [1, 2])
def test_a_sequence_of_an_image_is_stored_as_the_image(images: int) -> None:
    graph = sequence(images)
    (y,) = graph.outputs
    assert stored_shape(graph, "x0") == stored_shape(graph, y) == (images, 40, 1, 61)
    assert [kernel.func.attrs.get("alias") for kernel in lower_graph(graph)] == [True, None, True]
    runs(graph)


def test_who_else_reads_a_border_keeps_its_shape() -> None:
    graph = sequence()
    graph.outputs.append(add(graph, "lookup", "x0", "table"))
    assert stored_shape(graph, "x0") == (1, 40, 61)
    other = sequence()
    other.outputs.append(add(other, "lookup", other.outputs[0], "table"))
    assert stored_shape(other, other.outputs[0]) == (1, 40, 61)
    runs(graph)
    runs(other)


def test_inputs_that_are_outputs_keep_their_shape() -> None:
    graph = graph_of((1, 40, 61))
    graph.outputs = ["x0", add(graph, "reshape", "x0", shape=(1, 40, 1, 61))]
    assert [stored_shape(graph, name) for name in graph.outputs] == [(1, 40, 61), (1, 40, 1, 61)]
    runs(graph)


def test_an_output_of_two_shapes_is_stored_once() -> None:
    graph = graph_of((1, 8, 1, 20))
    y = pooled(graph, "x0")
    graph.outputs = [y, add(graph, "reshape", y, shape=(1, 8, 20))]
    assert stored_shape(graph, graph.outputs[1]) == (1, 8, 20)
    runs(graph)


SOFTMAX = [  # over the last axis, and how it is stored
    ((1, 4, 64, 64), (4, 64, 64)),
    ((1, 8, 32, 128), (8, 32, 128)),
    ((2, 3, 50, 70), (6, 50, 1, 70)),
    ((1, 2, 197, 197), (2, 197, 1, 197)),
]


@pytest.mark.parametrize(("shape", "stored"), SOFTMAX)
def test_softmax_lies_alike_in_three_and_four_dimensions(
    shape: tuple[int, ...], stored: tuple[int, ...]
) -> None:
    for same in (shape, (shape[0] * shape[1], *shape[2:])):
        graph = graph_of(same)
        axis = len(same) - 1
        graph.outputs = [add(graph, "q_softmax", "x0", "exponents", axis=axis, shift=20)]
        made = settle(graph)
        names = *made.inputs, *made.outputs
        assert [stored_shape(made, name) for name in names] == [stored, stored]


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Operators and reshapes, whose operands and results are inputs and outputs anyhow."""
    shape = tuple(draw(st.lists(st.integers(1, 5), min_size=4, max_size=4)))
    shapes = [shape, (shape[0] * shape[1], *shape[2:]), (shape[0], shape[1], shape[2] * shape[3])]
    graph = graph_of(*(draw(st.sampled_from(shapes)) for _ in range(2)))
    known = list(graph.inputs)
    for _ in range(draw(st.integers(1, 5))):
        x = draw(st.sampled_from(known))
        match draw(st.sampled_from(["reshape", "reshape", "table", "pool"])):
            case "pool" if len(graph.types[x].shape) == 4:
                known.append(pooled(graph, x))
            case "table":
                known.append(add(graph, "lookup", x, "table"))
            case _:
                known.append(add(graph, "reshape", x, shape=draw(st.sampled_from(shapes))))
    graph.outputs = draw(st.lists(st.sampled_from(known), min_size=1, max_size=3, unique=True))
    return graph


@settings(max_examples=15, deadline=None)
@given(graphs())
def test_any_border(graph: Graph) -> None:
    runs(graph)
    runs(settle(graph))
