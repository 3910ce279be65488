"""One row an operator: all that knows operators reads the row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from dovetail.tir import type_rules
from dovetail.tir.arithmetic import Arithmetic, V
from dovetail.tir.bounds import bounds, node_bounds
from dovetail.tir.evaluate_expr import evaluate_expr
from dovetail.tir.expr import Expr, const, make, var, walk
from dovetail.tir.interpret import interpret
from dovetail.tir.ops import OPS
from dovetail.tir.rewrite.prove import Refuted, prove
from dovetail.tir.rewrite.rule import Rule, wild
from dovetail.tir.row import PARTS, Lanes, Op, row
from dovetail.tir.script import parse, parse_expr, show, show_expr
from dovetail.tir.simplifier import simplify
from dovetail.tir.stmt import Store
from dovetail.tir.types import Type, boolean, i8, i32, u8, u16, u32, vector
from dovetail.tir.verify import VerifyError, verify
from tests.schedule.draw import spelled
from tests.target.lanes import COMPUTED, function
from tests.tir.generate import makers
from tests.tir.operands import ATTRS, plain

FEW = 6  # values of a small type that are tried against each other


@pytest.fixture
def parity() -> Iterator[Op]:
    """An operator that nothing else knows: whether an odd number of bits is set."""

    @row(type_rules.unsigned, bound=lambda kind, attr, given: (0, 1))
    def parity(of: Arithmetic, kind: Type, a: V) -> V:
        for half in (16, 8, 4, 2, 1):
            a = a ^ of.right(a, half) if half < kind.bits else a
        return a & 1

    makers.cache_clear()
    yield parity
    del OPS["parity"]
    makers.cache_clear()


def test_an_operator_is_one_row(parity: Op) -> None:
    """In script, printed, verified, interpreted, folded, bounded, and proven about."""
    func = parse("""
def odd(x: Buffer[u8, (256,)], y: Buffer[u8, (256,)]):
    for i in range(256):
        y[i] = parity(x[i]) + 1
""")
    assert parse(show(func)) == func
    verify(func)
    x, y = np.arange(256, dtype=np.uint8), np.zeros(256, np.uint8)
    interpret(func, x, y)
    assert y.tolist() == [n.bit_count() % 2 + 1 for n in range(256)]
    assert bounds(parse_expr("parity(x) + 3", {"x": u16}), {}) == (3, 4)
    assert show_expr(simplify(make("parity", const(7, u16)))) == "u16(1)"
    with pytest.raises(VerifyError, match="parity: the result must be u16, but got u8"):
        wrong = Expr("parity", u8, (const(1, u16),))
        verify(replace(func, body=Store(func.params[1], (const(0, i32),), wrong)))
    a, b = wild("a", u32), wild("b", u32)
    odd = [make("parity", side) for side in (a, b, a ^ b, a | b)]
    prove(Rule("parity_of_xor", odd[0] ^ odd[1], odd[2]))
    with pytest.raises(Refuted, match="both sides must be equal"):
        prove(Rule("parity_of_or", odd[0] ^ odd[1], odd[3]))
    with pytest.raises(TypeError, match="parity: it takes 1 operands, but got 2"):
        make("parity", a, b)
    with pytest.raises(TypeError, match="the operands must be unsigned integers, but got i8"):
        make("parity", var("s", i8))
    with pytest.raises(TypeError, match="parity: it is a word of the script"):
        parity(x)


def test_an_operator_is_drawn(parity: Op) -> None:
    """By what makes expressions, values of many lanes, and kernels."""
    assert "parity" in makers(u8) and "parity" not in makers(i8)
    drawn = [function(seed, {*COMPUTED, "parity"}) for seed in range(300)]
    stores = [func.body for func in drawn]
    found = {node.op for store in stores if isinstance(store, Store) for node in walk(store.value)}
    assert "parity" in found
    assert plain(u8, {"parity", "abs"}) == ["abs", "parity"]
    assert spelled("parity") == "parity({a})"


def test_leading_zeros() -> None:
    text = "count_leading_zeros(x) + 1"
    value = parse_expr(text, {"x": vector(u16, 4)})
    assert show_expr(value) == text
    env = {"x": np.array([[0, 1, 300, 65535]], np.uint16)}
    assert evaluate_expr(value, env).tolist() == [[17, 16, 8, 1]]
    assert bounds(value, {var("x", vector(u16, 4)): (3, 300)}) == (8, 15)
    x = wild("x", u32)
    zeros = make("count_leading_zeros", x)
    prove(Rule("all_zeros", zeros.equals(32), x.equals(0)))
    prove(Rule("top", (zeros << 31) >> 31, zeros & 1))
    with pytest.raises(Refuted, match="both sides must be equal"):
        prove(Rule("most_zeros", zeros.equals(31), x.equals(0)))


def test_generated_expressions_have_every_operator_of_lanes_alone() -> None:
    found = {name for kind in (u8, i8, i32, boolean) for name in makers(kind)}
    told = {op.name for op in OPS.values() if op.rule is type_rules.given}  # casts, drawn apart
    alone = {op.name for op in OPS.values() if op.lanes is Lanes.SAME and op.proven}
    assert found == alone - told
    assert "count_leading_zeros" in found


def drawn(kind: Type, place: int, row: Op) -> list[int]:
    if place in row.counts:
        return [0, 1, 2, 5]
    return [kind.low, -3 if kind.signed else 3, 0, 1, 5, kind.high][:FEW]


@pytest.mark.parametrize("name", [op.name for op in OPS.values() if op.rises])
def test_what_rises_or_falls_reaches_its_bounds(name: str) -> None:
    """Of any box the ends are values at corners, and no value within lies beyond them."""
    op, seen = OPS[name], 0
    for kinds in product((u8, i8), repeat=op.arity):
        if op.rule is type_rules.given:
            node = Expr(name, i32, (var("a", kinds[0]),))
        else:
            try:
                node = make(name, *(var("abc"[i], kind) for i, kind in enumerate(kinds)))
            except TypeError:
                continue
        pools = [drawn(kind, place, op) for place, kind in enumerate(kinds)]
        boxes = [[(a, b) for a in pool for b in pool if a <= b] for pool in pools]
        for box in list(product(*boxes))[:: 1 if op.arity < 3 else 97]:
            seen += 1
            check(node, box)
    assert seen


def check(node: Expr, box: tuple[tuple[int, int], ...]) -> None:
    lines = [np.unique(np.linspace(low, high, 9).astype(np.int64)) for low, high in box]
    grid = np.meshgrid(*lines, indexing="ij")
    env = {arg.attr: values.reshape(-1, 1).astype(arg.type.numpy)
           for arg, values in zip(node.args, grid, strict=True)}  # fmt: skip
    found = evaluate_expr(node, env)
    low, high = node_bounds(node, box)
    assert low <= found.min() and found.max() <= high, f"{node} {box}"
    if (low, high) != (node.type.low, node.type.high):
        assert (low, high) == (found.min(), found.max()), f"{node} {box}"


def test_rows_say_what_others_read() -> None:
    assert {op.name for op in OPS.values() if op.arity == PARTS and op.meaning} == {
        "interleave", "concat",
    }  # fmt: skip
    assert {op.name for op in OPS.values() if op.attr and op.meaning and not op.example} == {
        "reinterpret",
    }  # fmt: skip
    assert set(ATTRS) == {op.name for op in OPS.values() if op.example}
