"""Channels that are joined within vectors: the evaluator's bytes, by whole vectors."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dovetail.driver.kernel_task import KernelTask
from dovetail.driver.prepare import one_node
from dovetail.graph.graph import Graph, Node, TensorType
from dovetail.graph.integer import infer_shape
from dovetail.graph.kernels import place
from dovetail.graph.lower import lower
from dovetail.graph.settle import settle
from dovetail.target.dsp.target import dsp

Slices = dict[int, tuple[int, int]]  # of an input: the channels that are joined


def task(channels: list[int], pixels: tuple[int, ...], slices: Slices | None = None) -> KernelTask:
    """The kernel of ``cat`` in TCM; of three axes the last one has the channels."""
    axis = 1 if len(pixels) > 2 else 2
    shapes = [(*pixels[:axis], count, *pixels[axis:]) for count in channels]
    names = [f"x{number}" for number in range(len(shapes))]
    graph = Graph("test", list(names), ["y"])
    graph.types = {n: TensorType(shape, "u8") for n, shape in zip(names, shapes, strict=True)}
    nodes = []
    for number, (start, stop) in (slices or {}).items():
        attrs = {"axis": axis, "start": start, "stop": stop, "step": 1}
        nodes.append(Node("slice", (names[number],), f"s{number}", attrs))
        names[number] = f"s{number}"
    for node in [*nodes, Node("cat", tuple(names), "y", {"axis": axis})]:
        graph.nodes.append(node)
        graph.types[node.output] = TensorType(infer_shape(graph, node), "u8")
    made = settle(graph)
    (node,) = made.nodes
    kernel = lower(made, node)
    near = place(kernel.func, {param.name: "tcm" for param in kernel.func.params})
    func = replace(near, attrs={**near.attrs, "held": 0})
    return KernelTask(replace(kernel, func=func), one_node(made, node), dsp())


@st.composite
def tasks(draw: st.DrawFn) -> KernelTask:
    channels = draw(st.lists(st.integers(3, 70), min_size=2, max_size=4))
    rows, columns = draw(st.integers(1, 9)), draw(st.integers(1, 35))
    return task(channels, draw(st.sampled_from([(1, rows, columns), (rows, columns)])))


@settings(max_examples=12, deadline=None)
@given(tasks())
def test_channels_of_any_number_are_joined(found: KernelTask) -> None:
    assert found.check(found.default) == (True, "")


@pytest.mark.parametrize(
    ("channels", "pixels", "most"),
    [([8, 8], (1, 64, 64), 200), ([12, 12], (1, 32, 32), 350), ([36, 36], (1, 32, 32), 600),
     ([64, 64], (1, 31, 31), 400), ([60, 60], (16, 16), 200), ([120, 120], (1, 16, 16), 250),
     ([20, 12, 7], (1, 9, 13), 250), ([16, 16, 16], (1, 24, 24), 400)],
)  # fmt: skip
def test_whole_vectors_move(channels: list[int], pixels: tuple[int, ...], most: int) -> None:
    found = task(channels, pixels)
    assert found.check(found.default) == (True, "")
    assert found.compiled(found.default).cost.cycles < most


@pytest.mark.parametrize("part", [(0, 24), (24, 48), (16, 40), (33, 48)])
def test_a_part_of_an_input_is_joined(part: tuple[int, int]) -> None:
    found = task([48, 24], (1, 16, 16), {0: part})
    assert found.check(found.default) == (True, "")
