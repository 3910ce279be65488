"""Kernels: their keys, their text, where their buffers lie; storage; whole graphs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dovetail.graph.evaluate import evaluate
from dovetail.graph.graph import Array, Graph, Node, Requant, TensorType
from dovetail.graph.integer import infer_shape
from dovetail.graph.kernels import Kernel, place
from dovetail.graph.lower import lower, lower_graph
from dovetail.graph.physical import axes, pack, physical, place_of, unpack
from dovetail.tir.expr import const
from dovetail.tir.interpret import interpret
from dovetail.tir.script import parse, show
from dovetail.tir.stmt import Alloc, For, walk_stmt
from dovetail.tir.types import i32

SHAPES = st.lists(st.integers(1, 5), min_size=0, max_size=5).map(tuple)


@pytest.mark.parametrize(
    ("shape", "stored"),
    [((1, 3, 37, 53), (1, 37, 64, 4)), ((2, 29, 37, 53), (2, 37, 56, 32)),
     ((1, 40, 5, 5), (1, 5, 6, 64)), ((1, 65, 5, 5), (1, 5, 6, 128)),
     ((1, 129, 1, 1), (1, 1, 1, 256)),
     ((3, 10), (1, 1, 4, 32)), ((2, 3, 64), (1, 2, 4, 64)), ((5,), (1, 1, 4, 32)),
     ((), (1, 1, 32, 4)),
     ((2, 3, 4, 5, 6), (1, 24, 8, 32)), ((1, 9, 48, 48), (1, 48, 48, 16)),
     ((1, 12, 7, 7), (1, 7, 8, 16)), ((1, 8, 3, 2), (1, 3, 4, 32)), ((4, 49, 16), (1, 4, 52, 32)),
     ((1, 16), (1, 1, 4, 32)), ((1, 5, 16, 17), (1, 16, 32, 8))],
)  # fmt: skip
def test_rows_are_whole_vectors(shape: tuple[int, ...], stored: tuple[int, ...]) -> None:
    assert physical(shape) == stored
    assert stored[2] * stored[3] % 128 == 0


@given(SHAPES, st.integers(0, 255))
def test_unpack_gives_what_was_packed(shape: tuple[int, ...], pad: int) -> None:
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    stored = pack(array.astype(np.int32), shape, pad)
    assert stored.shape == physical(shape)
    np.testing.assert_array_equal(unpack(stored, shape), array)
    assert (stored == pad).sum() >= stored.size - array.size


@given(SHAPES)
def test_an_index_finds_its_place(shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape, dtype=int), dtype=np.int32).reshape(shape)
    stored = pack(array, shape)
    for index in list(np.ndindex(*shape))[:20]:
        at = place_of(shape, [const(i, i32) for i in index])
        assert stored[tuple(_number(e) for e in at)] == array[index]
    assert sorted(s.dim for s in axes(shape)) == list(range(len(shape)))


def _number(index: Any) -> int:
    from dovetail.tir.linear import linear

    return linear(index).constant


def conv(kit: Any, seed: int, **more: Any) -> Kernel:
    rng = np.random.default_rng(seed)
    attrs = {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 1}
    inputs = [kit.bytes_of(rng, 1, 8, 6, 6), kit.weights_of(rng, 8, 8, 3, 3)]
    requant = Requant((1 << 30,) * 8, more.pop("shift", 40), 3)
    zeros = np.zeros(8, np.int32)
    graph = kit.graph_of("q_conv2d", [*inputs, zeros], 2, requant=requant, **{**attrs, **more})
    return lower(graph, graph.nodes[0])


def test_the_key_knows_shapes_and_classes_but_not_weights_and_numbers(kit: Any) -> None:
    plain = conv(kit, 1, x_zero=3)
    members = [conv(kit, 2, x_zero=3), conv(kit, 1, x_zero=4), conv(kit, 1, x_zero=3, shift=41)]
    assert {plain.key} == {member.key for member in members}
    others = [conv(kit, 1, x_zero=3, shift=47), conv(kit, 1, x_zero=3, stride=(2, 2))]
    assert len({plain.key, *(other.key for other in others)}) == 3
    renamed = replace(plain, name="other", inputs=("z",), output="z")
    assert renamed.key == plain.key


def test_a_kernel_says_what_it_is(kit: Any) -> None:
    kernel = conv(kit, 1, x_zero=3)
    assert (kernel.name, kernel.kind, kernel.inputs, kernel.output) == ("y", "conv2d", ("t0",), "y")
    assert kernel.macs == kernel.func.attrs["macs"] == 8 * 8 * 16 * 16
    assert kernel.weight_bytes == 8 * 8 * 9 + 8 * 4
    assert kernel.origin == "model.py:1"
    assert [p.name for p in kernel.func.params] == ["x", "w", "bias", "mult", "y"]
    assert kernel.func.attrs["shapes"] == {"x": (1, 8, 6, 6), "y": (1, 8, 6, 6)}


def test_loops_have_names_of_their_own(kit: Any) -> None:
    func = conv(kit, 1, x_zero=3).func
    stmts = list(walk_stmt(func.body))
    loops = [stmt.axis.attr for stmt in stmts if isinstance(stmt, For)]
    buffers = [stmt.buffer.name for stmt in stmts if isinstance(stmt, Alloc)]
    names = [*loops, *buffers, *(param.name for param in func.params)]
    assert len(names) == len(set(names))


def test_place_moves_parameters(kit: Any) -> None:
    func = conv(kit, 1, x_zero=3).func
    moved = place(func, {"x": "tcm", "y": "tcm"})
    assert [p.scope for p in moved.params] == ["tcm", "ddr", "ddr", "ddr", "tcm"]
    assert parse(show(moved)) == moved
    assert place(moved, {"x": "ddr", "y": "ddr"}) == func
    with pytest.raises(ValueError) as caught:
        place(func, {"z": "tcm"})
    assert str(caught.value) == (
        "place q_conv2d: it has the parameters x, w, bias, mult, y, but got ['z']"
    )


def small_net(rng: np.random.Generator, kit: Any) -> Graph:
    """A residual block, a pool, a reshape and a classifier, on 13 channels."""
    graph = Graph("net", ["x"], ["out"])
    graph.types["x"] = TensorType((2, 13, 7, 9), "u8")
    first, last = kit.requant_of(rng, 1, 1 << 17), kit.requant_of(rng, 1, 1 << 18)

    def constant(name: str, array: Array) -> str:
        short = {"int8": "i8", "int32": "i32", "uint8": "u8"}[array.dtype.name]
        graph.constants[name], graph.types[name] = array, TensorType(array.shape, short)
        return name

    def node(op: str, inputs: tuple[str, ...], output: str, **attrs: Any) -> None:
        made = Node(op, inputs, output, attrs)
        graph.nodes.append(made)
        graph.types[output] = TensorType(infer_shape(graph, made), "u8")

    w = constant("w", kit.weights_of(rng, 13, 13, 3, 3))
    b = constant("b", rng.integers(-9999, 9999, 13).astype(np.int32))
    v = constant("v", kit.weights_of(rng, 10, 13 * 4 * 5))
    d = constant("d", rng.integers(-9999, 9999, 10).astype(np.int32))
    one = ((1, 1), (1, 1))
    node("q_conv2d", ("x", w, b), "c", stride=(1, 1), padding=one, dilation=(1, 1), groups=1,
         x_zero=9, requant=first)  # fmt: skip
    node("q_add", ("c", "x"), "s", a_zero=3, b_zero=9, a_mult=9000, b_mult=5000, shift=14,
         zero_point=90, low=90, high=255)  # fmt: skip
    node("max_pool2d", ("s",), "p", kernel=(3, 3), stride=(2, 2), padding=one, dilation=(1, 1))
    node("reshape", ("p",), "f", shape=(2, 13 * 4 * 5))
    node("q_linear", ("f", v, d), "l", x_zero=90, requant=last)
    table = np.rint(np.exp(-np.arange(256) / 20) * (1 << 15)).astype(np.int32)
    node("q_softmax", ("l", constant("t", table)), "out", axis=1, shift=21)
    return graph


def test_a_graph_of_kernels_gives_the_evaluators_bytes(kit: Any) -> None:
    rng = np.random.default_rng(8)
    graph = small_net(rng, kit)
    x = kit.bytes_of(rng, 2, 13, 7, 9)
    kernels = lower_graph(graph)
    assert [k.kind for k in kernels] == [
        "conv2d", "elementwise", "pool", "move", "matmul", "softmax",
    ]  # fmt: skip
    stored = {"x": pack(x, x.shape, 0xEE)}
    for kernel in kernels:
        output = np.full(kernel.func.params[-1].shape, 0xA5, np.uint8)
        interpret(kernel.func, *(stored[name] for name in kernel.inputs), output)
        stored[kernel.output] = output
    (want,) = evaluate(graph, [x])
    np.testing.assert_array_equal(unpack(stored["out"], (2, 10)), want)
    assert len(np.unique(want)) > 3
