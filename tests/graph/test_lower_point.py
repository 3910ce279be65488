"""Kernels of pointwise operators and softmax against the evaluator."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dovetail.graph.graph import Graph, Node, TensorType
from dovetail.graph.lower import lower
from dovetail.graph.operators.softmax import reciprocal
from dovetail.tir.interpret import interpret
from dovetail.tir.stmt import Buffer, PrimFunc, Store, load
from dovetail.tir.types import i32

SHAPES = [
    ((1, 64, 8, 8), (1, 64, 8, 8)),
    ((3, 13, 5, 7), (3, 13, 5, 7)),
    ((2, 64, 5, 7), (2, 64, 1, 1)),
    ((2, 64, 5, 7), (1, 1, 5, 7)),
    ((2, 1, 5, 1), (1, 29, 1, 7)),
    ((2, 5, 13), (13,)),
    ((13,), (2, 5, 1)),
    ((2, 3, 5, 29), (29,)),
    ((2, 3, 2, 4, 5), (3, 1, 4, 1)),
    ((4, 10), (4, 1)),
    ((), ()),
    ((), (2, 3)),
]
ADD = {"a_mult": 9000, "b_mult": -7000, "shift": 14, "zero_point": 90, "low": 3, "high": 250}


@pytest.mark.parametrize(("a", "b"), SHAPES)
def test_add(kit: Any, a: tuple[int, ...], b: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    inputs = [kit.bytes_of(rng, *a), kit.bytes_of(rng, *b)]
    assert kit.holds("q_add", inputs, a_zero=3, b_zero=0, **ADD).kind == "elementwise"


@pytest.mark.parametrize(("a", "b"), SHAPES)
def test_mul(kit: Any, a: tuple[int, ...], b: tuple[int, ...]) -> None:
    rng = np.random.default_rng(2)
    inputs = [kit.bytes_of(rng, *a), kit.bytes_of(rng, *b)]
    requant = kit.requant_of(rng, 1, 1 << 14)
    assert kit.holds("q_mul", inputs, a_zero=128, b_zero=9, requant=requant).kind == "elementwise"


def test_a_constant_operand_is_a_stored_constant(kit: Any) -> None:
    rng = np.random.default_rng(3)
    inputs = [kit.bytes_of(rng, 1, 13, 4, 5), kit.bytes_of(rng, 13, 1, 1)]
    kernel = kit.holds("q_add", inputs, 1, a_zero=3, b_zero=5, **ADD)
    assert kernel.inputs == ("t0",) and list(kernel.func.constants) == ["b"]
    assert kernel.weight_bytes == 13


def test_a_tensor_that_is_read_twice_is_one_parameter() -> None:
    types = {name: TensorType((2, 3), "u8") for name in "xy"}
    attrs = {"a_zero": 3, "b_zero": 5, **ADD}
    node = Node("q_add", ("x", "x"), "y", attrs)
    kernel = lower(Graph("g", ["x"], ["y"], [node], types, {}), node)
    assert kernel.inputs == ("x",) and [p.name for p in kernel.func.params] == ["a", "y"]


@pytest.mark.parametrize("shape", [(1, 13, 5, 7), (3, 29), (2, 3, 4, 5, 6)])
def test_lookup(kit: Any, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(4)
    kernel = kit.holds("lookup", [kit.bytes_of(rng, *shape), kit.bytes_of(rng, 256)], 1)
    assert kernel.kind == "table"


@pytest.mark.parametrize(
    ("shape", "axis"),
    [((3, 10), 1), ((3, 10), 0), ((1, 1000), 1), ((2, 13, 5, 7), 1), ((2, 13, 5, 7), 3),
     ((2, 5, 29), 2), ((2, 3, 2, 4, 5), 1), ((6,), 0)],
)  # fmt: skip
def test_softmax(kit: Any, shape: tuple[int, ...], axis: int) -> None:
    rng = np.random.default_rng(5)
    table = np.rint(np.exp(-np.arange(256) / 30) * (1 << 15)).astype(np.int32)
    x, shift = kit.bytes_of(rng, *shape), 15 + len(shape) + axis
    kernel = kit.holds("q_softmax", [x, table], 1, axis=axis, shift=shift)
    assert kernel.kind == "softmax"


@given(st.lists(st.integers(1 << 15, (1 << 31) - 1), min_size=1, max_size=8))
def test_reciprocal_is_floor_division(totals: list[int]) -> None:
    values = np.array([*totals, 1 << 15, (1 << 31) - 1, 1 << 30], np.int32)
    for value in values:
        s, r = Buffer("s", i32, (1,)), Buffer("r", i32, (1,))
        body = Store(r, load(s, 0).args, reciprocal(load(s, 0)))
        out = np.zeros(1, np.int32)
        interpret(PrimFunc("f", (s, r), body), np.array([value], np.int32), out)
        assert out[0] == (1 << 30) // int(value)
