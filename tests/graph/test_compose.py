"""Composed moves: any chain gives the bytes of its parts, in fewer kernels and no more bytes."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dovetail.graph.arrange import arrange
from dovetail.graph.borders import stored_shape
from dovetail.graph.compose import compose
from dovetail.graph.evaluate import evaluate
from dovetail.graph.graph import Array, Graph, Node, TensorType
from dovetail.graph.integer import infer_shape, verify
from dovetail.graph.lower import lower
from dovetail.graph.moves import Move, merged
from dovetail.graph.operators import INTEGERS
from dovetail.graph.physical import pack, physical, unpack
from dovetail.graph.tables import without_identities
from dovetail.tir.interpret import interpret

RNG = np.random.default_rng(7)
Step = tuple[str, dict[str, Any]]


def graph_of(shape: tuple[int, ...], *nodes: Node, outputs: tuple[str, ...] = ()) -> Graph:
    """``x`` of ``shape`` and the nodes; the last one's result is the output."""
    graph = Graph("test", ["x"], list(outputs or (nodes[-1].output,)))
    graph.types["x"] = TensorType(shape, "u8")
    for node in nodes:
        if node.op == "lookup":
            graph.constants["table"] = RNG.permutation(256).astype(np.uint8)
            graph.types["table"] = TensorType((256,), "u8")
        graph.nodes.append(node)
        graph.types[node.output] = TensorType(infer_shape(graph, node), "u8")
    verify(graph)
    return graph


def chain(shape: tuple[int, ...], *steps: Step) -> Graph:
    names = ["x", *(f"t{number}" for number in range(1, len(steps))), "y"]
    nodes = [
        Node(op, (x, "table") if op == "lookup" else (x,), y, attrs, f"model.py:{number}")
        for number, ((op, attrs), (x, y)) in enumerate(zip(steps, pairwise(names), strict=True))
    ]
    return graph_of(shape, *nodes)


def holds(graph: Graph) -> Graph:
    """The composed graph, whose values and whose kernels' values are those of ``graph``."""
    made = compose(graph)
    verify(made)
    x = RNG.integers(0, 256, graph.types["x"].shape).astype(np.uint8)
    want = evaluate(graph, [x])
    for one, other in zip(want, evaluate(made, [x]), strict=True):
        np.testing.assert_array_equal(one, other)
    arrays = {"x": x}
    for node in made.nodes:
        run(made, node, arrays)
    for name, one in zip(made.outputs, want, strict=True):
        np.testing.assert_array_equal(arrays[name], one)
    return made


def run(graph: Graph, node: Node, arrays: dict[str, Array]) -> None:
    """Interpret the node's kernel on stored images with garbage in their pads."""
    kernel = lower(graph, node)
    shape = stored_shape(graph, node.output)
    output = np.full(physical(shape), 0xA5, np.uint8)
    stored = [pack(arrays[name], stored_shape(graph, name), 91) for name in kernel.inputs]
    interpret(kernel.func, *stored, output)
    arrays[node.output] = unpack(output, shape).reshape(graph.types[node.output].shape)


@st.composite
def steps(draw: st.DrawFn, shape: tuple[int, ...]) -> Step:
    """A move of a tensor of ``shape``."""
    op = draw(st.sampled_from(["reshape", "reshape", "permute", "permute", "slice", "expand"]))
    rank = len(shape)
    if op == "permute" and rank:
        return op, {"axes": tuple(draw(st.permutations(range(rank))))}
    if op == "slice" and rank:
        axis = draw(st.integers(0, rank - 1))
        start = draw(st.integers(0, shape[axis] - 1))
        stop = draw(st.integers(start + 1, shape[axis]))
        return op, {"axis": axis, "start": start, "stop": stop, "step": draw(st.integers(1, 3))}
    if op == "expand" and np.prod(shape) < 200:
        wide = tuple(draw(st.integers(1, 3)) if n == 1 else n for n in shape)
        return op, {"shape": (*draw(st.sampled_from([(), (2,)] if rank < 6 else [()])), *wide)}
    primes = [p for n in shape for p in factors(n)]
    order = draw(st.permutations(primes)) if draw(st.booleans()) else primes
    ends = sorted(draw(st.lists(st.integers(0, len(order)), max_size=5)))
    parts = [order[a:b] for a, b in pairwise([0, *ends, len(order)])]
    return "reshape", {"shape": tuple(int(np.prod(part)) for part in parts)}


def factors(number: int) -> list[int]:
    found, at = [], 2
    while number > 1:
        while number % at == 0:
            found.append(at)
            number //= at
        at += 1
    return found


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_chain(data: st.DataObject) -> None:
    extents = st.sampled_from([1, 1, 2, 3, 4, 5, 6, 7])
    shape = tuple(data.draw(st.lists(extents, min_size=1, max_size=5)))
    made: list[Step] = []
    at = torch.arange(int(np.prod(shape))).reshape(shape)
    whole: Move | None = merged([(at.numel(), 1)])
    for _ in range(data.draw(st.integers(1, 5))):
        op, attrs = data.draw(steps(tuple(at.shape)))
        move_of = INTEGERS[op].move
        assert move_of is not None
        own = move_of(Node(op, ("x",), "y", attrs), tuple(at.shape))
        at = moved(at, op, attrs)
        whole = whole and own.after(whole)
        made.append((op, attrs))
        if whole is None:
            break
        numbers = whole.apply(np.arange(int(np.prod(shape))))
        np.testing.assert_array_equal(numbers, at.reshape(-1).numpy())
    graph = chain(shape, *made)
    composed = holds(graph)
    assert len(composed.nodes) <= len(graph.nodes)


def moved(x: torch.Tensor, op: str, attrs: dict[str, Any]) -> torch.Tensor:
    match op:
        case "reshape":
            return x.reshape(attrs["shape"])
        case "permute":
            return x.permute(attrs["axes"])
        case "expand":
            return x.expand(attrs["shape"])
    along = torch.arange(attrs["start"], attrs["stop"], attrs["step"])
    return x.index_select(attrs["axis"], along)


SHUFFLE = (
    ("reshape", {"shape": (1, 3, 2, 2, 4, 5)}),
    ("permute", {"axes": (0, 1, 4, 2, 5, 3)}),
    ("reshape", {"shape": (1, 3, 8, 10)}),
)
UPSAMPLE = (
    ("reshape", {"shape": (1, 12, 4, 1, 5, 1)}),
    ("expand", {"shape": (1, 12, 4, 2, 5, 2)}),
    ("reshape", {"shape": (1, 12, 8, 10)}),
)


@pytest.mark.parametrize("steps", [SHUFFLE, UPSAMPLE])
def test_a_chain_is_one_move(steps: tuple[Step, ...]) -> None:
    (node,) = holds(chain((1, 12, 4, 5), *steps)).nodes
    assert node.op == "move" and node.origin == "model.py:0, model.py:1, model.py:2"


def test_tokens_move_nothing() -> None:
    steps = ("reshape", {"shape": (1, 128, 24)}), ("permute", {"axes": (0, 2, 1)})
    made = holds(chain((1, 128, 4, 6), *steps))
    (node,) = made.nodes
    assert lower(made, node).func.attrs["alias"]


def test_what_is_undone_goes() -> None:
    steps = [("permute", {"axes": (2, 0, 1)}), ("lookup", {}), ("permute", {"axes": (1, 2, 0)})]
    made = holds(arrange(chain((3, 4, 5), *steps)))
    assert [node.op for node in made.nodes] == ["lookup", "reshape"]


def test_a_table_goes_before_a_move_only_where_moves_meet() -> None:
    turn = "permute", {"axes": (2, 0, 1)}
    graph = chain((3, 4, 5), turn, ("lookup", {}), turn)
    assert [node.op for node in arrange(graph).nodes] == ["lookup", "permute", "permute"]
    first = ("slice", {"axis": 0, "start": 0, "stop": 2, "step": 1})
    graph = chain((8, 128), first, ("lookup", {}), ("reshape", {"shape": (2, 1, 128)}))
    assert arrange(graph).nodes == graph.nodes


def test_axes_that_cut_across_stay_two_moves() -> None:
    steps = ("permute", {"axes": (1, 0)}), ("reshape", {"shape": (8, 3)})
    made = holds(chain((4, 6), *steps))
    assert [node.op for node in made.nodes] == ["permute", "reshape"]


def test_a_move_read_by_moves_and_others_is_made_once() -> None:
    nodes = [
        Node("permute", ("x",), "t", {"axes": (0, 2, 3, 1)}),
        Node("permute", ("t",), "a", {"axes": (0, 1, 3, 2)}),
        Node("lookup", ("t", "table"), "b", {}),
    ]
    made = holds(graph_of((1, 5, 6, 7), *nodes, outputs=("a", "b")))
    inputs = {node.output: node.inputs[0] for node in made.nodes}
    assert inputs == {"t": "x", "a": "x", "b": "t"} or inputs == {"t": "x", "a": "t", "b": "t"}


def test_a_copy_whose_readers_are_free_is_kept() -> None:
    nodes = [
        Node("permute", ("x",), "t", {"axes": (0, 2, 1)}),
        Node("reshape", ("t",), "a", {"shape": (2, 1, 6, 128)}),
        Node("reshape", ("t",), "b", {"shape": (12, 128)}),
        Node("lookup", ("a", "table"), "c", {}),
        Node("lookup", ("b", "table"), "d", {}),
    ]
    made = holds(graph_of((2, 128, 6), *nodes, outputs=("c", "d")))
    copies = [n for n in made.nodes if n.op != "lookup" and not lower(made, n).func.attrs["alias"]]
    assert len(copies) <= 2


def test_tables_that_give_each_byte_back_are_none() -> None:
    first = ("slice", {"axis": 0, "start": 0, "stop": 2, "step": 1})
    graph = chain((3, 128), first, ("lookup", {}), ("lookup", {}))
    graph.constants["table"] = np.arange(256).astype(np.uint8)
    made = holds(without_identities(graph))
    assert [node.op for node in made.nodes] == ["slice", "lookup"]  # a result keeps its map
    graph.constants["table"] = graph.constants["table"][::-1]
    assert without_identities(graph).nodes == graph.nodes
