"""What rewrites without a proof record: the simplifier, and the bounds that it and rules ask.

Each row of their tables is tried on random and extreme values, and each way out of their functions
is taken.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import chain
from random import Random

import numpy as np
import pytest

from dovetail.tir.bounds import bounds
from dovetail.tir.evaluate_expr import evaluate_expr
from dovetail.tir.expr import Expr, cast, const, free_vars, make, sat_cast, select, var
from dovetail.tir.intervals import Interval, type_range
from dovetail.tir.ops import OPS
from dovetail.tir.simplifier import COMPARED, LOCAL, SUMS, Simplifier
from dovetail.tir.types import Type, boolean, f32, i16, i32, u8, vector
from tests.tir.helpers import Array, random_array
from tests.tir.operands import ATTRS, CASTS, INTEGERS, KINDS, operand_types
from tests.tir.reached import Reached

ON_FLAGS = ("and_", "or_", "xor", "select", "cast")
STEPS = 48
Drawn = tuple[Expr, Mapping[Expr, Interval]]


def values(node: Expr, ends: Interval | None, rng: np.random.Generator) -> Array:
    """Random and extreme values of a variable, within its range."""
    shape = (STEPS, node.type.lanes)
    if ends is None:
        return random_array(node.type, shape, rng)
    low, high = ends
    some = rng.integers(low, high, shape, np.int64, endpoint=True)
    edges = rng.choice(np.array([low, high, min(low + 1, high)]), shape)
    return np.where(rng.integers(0, 2, shape), some, edges).astype(node.type.numpy)


def same(before: Expr, after: Expr, ranges: Mapping[Expr, Interval], seed: int) -> None:
    rng = np.random.default_rng(seed)
    leaves = sorted(free_vars(before) | free_vars(after), key=lambda leaf: str(leaf.attr))
    env = {leaf.attr: values(leaf, ranges.get(leaf), rng) for leaf in leaves}
    with np.errstate(all="ignore"):
        pair = evaluate_expr(before, env), evaluate_expr(after, env)
    assert after.type == before.type, f"{before} -> {after}"
    left, right = np.broadcast_arrays(*pair)
    np.testing.assert_array_equal(left, right, err_msg=f"{before} -> {after}")


# Data ---------------------------------------------------------------------------------------


class Data:
    """Draws expressions, mostly of shapes that some rewrite takes."""

    def __init__(self, seed: int, lanes: int, root: str) -> None:
        self.rng, self.lanes, self.root = Random(seed), lanes, root
        self.ranges: dict[Expr, Interval] = {}

    def leaf(self, kind: Type) -> Expr:
        wide = vector(kind, self.lanes)
        if kind.kind == "f":
            return self.rng.choice([var("f", wide), var("g", wide), const(0.5, wide)])
        if kind.kind == "b":
            x = var("x", vector(i16, self.lanes))
            return self.rng.choice([var("p", wide), const(True, wide), const(False, wide), x < 3])
        numbers = (0, 1, 2, 7, kind.high, kind.low, self.rng.randint(kind.low, kind.high))
        some = [const(n, wide) for n in numbers]
        return self.rng.choice([*some, *[self.variable(kind) for _ in range(6)]])

    def variable(self, kind: Type) -> Expr:
        found = var(f"{self.rng.choice('xyz')}_{kind}", vector(kind, self.lanes))
        if found not in self.ranges:
            small = self.rng.randint(kind.low, kind.high - 9)
            self.ranges[found] = self.rng.choice(
                [(kind.low, kind.high), (small, small + 9), (0, 3), (small, small)]
            )
        return found

    def value(self, kind: Type, depth: int) -> Expr:
        if depth == 0 or kind.kind in "bf":
            return self.leaf(kind)
        others = [op for op in LOCAL if op not in COMPARED]
        again = self.root if self.root not in COMPARED else "add"
        return self.node(self.rng.choice([again, self.rng.choice(others)]), kind, depth)

    def node(self, op: str, kind: Type, depth: int) -> Expr:
        """``op`` on operands of ``kind`` (of which kinds it has no row for, on i32)."""
        if op in ("cast", "sat_cast"):
            source = self.rng.choice(KINDS if op == "cast" else INTEGERS)
            make_cast = cast if op == "cast" else sat_cast
            return make_cast(kind if kind.kind != "b" else u8, self.value(source, depth - 1))
        a, b = self.value(kind, depth - 1), self.value(kind, depth - 1)
        b = self.rng.choice([a, b, b, b])
        if op == "select":
            return select(self.leaf(boolean), a, b)
        if op in ("floordiv", "mod"):
            b = const(self.rng.choice([1, 3, -3 if kind.kind == "i" else 5, 0]), a.type)
        if op in ("shl", "shr", "rounding_shr"):
            b = const(self.rng.randint(0, kind.bits - 1) * self.rng.randint(0, 1), a.type)
        return make(op, a, b)


def drawn_data(lanes: int) -> Iterator[Drawn]:
    """Nodes of every operator that the simplifier has a function for."""
    for op in LOCAL:
        for seed in range(100):
            data = Data(seed, lanes, op)
            kind = data.rng.choice(KINDS if op in ON_FLAGS else (*INTEGERS, f32))
            try:
                node = data.node(op, kind, data.rng.choice([1, 2]))
            except TypeError:
                continue  # the operator does not take this kind
            yield node, data.ranges


# Indices ------------------------------------------------------------------------------------

AXES = {var("i"): (0, 7), var("j"): (0, 15), var("k"): (0, 99), var("n"): (-9, 30),
        var("w"): (i32.low, i32.high)}  # fmt: skip
FACTORS = (1, 2, 3, 4, 6, 8, 16, 32)


class Indices:
    """Draws scalar i32 expressions over axes."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)

    def number(self, *numbers: int) -> Expr:
        return const(self.rng.choice(numbers or FACTORS), i32)

    def draw(self, depth: int) -> Expr:
        if depth == 0:
            axis = self.rng.choices(list(AXES), [4, 4, 4, 3, 1])[0]
            return self.rng.choice([axis, axis, self.number(0, 1, 5, 8, -8)])
        a = self.draw(depth - 1)
        match self.rng.randint(0, 7):
            case 0 | 1:
                return make("floordiv", a, self.number(*FACTORS, 0, -3))
            case 2 | 3:
                return make("mod", a, self.number(*FACTORS, 0, -3))
            case 4:
                p, c = self.number(), self.number(2, 4, 8)
                return (a // c) * (p * c) + (a % c) * p
            case 5:
                return make(self.rng.choice(("mul", "shl")), a, self.number())
            case _:
                op = self.rng.choice(("add", "add", "sub", "min", "max", "mul"))
                return make(op, a, self.draw(depth - 1))


def drawn_indices() -> Iterator[Drawn]:
    for seed in range(1000):
        drawn = Indices(seed)
        node = drawn.draw(drawn.rng.choice([1, 2, 2, 3]))
        if seed % 5 == 0:
            node = make(drawn.rng.choice(list(COMPARED)), node, drawn.draw(1))
        yield node, AXES


def test_simplifying_keeps_values_on_every_way() -> None:
    reached = Reached([*LOCAL.values(), Simplifier._step, Simplifier._fixed])
    data, indices = Counter[str](), Counter[str]()
    for nodes, changed in ((chain(drawn_data(1), drawn_data(4)), data), (drawn_indices(), indices)):
        for seed, (node, ranges) in enumerate(nodes):
            with reached:
                fresh = Simplifier(ranges)(node)
            changed[node.op] += fresh is not node
            if fresh is not node:
                same(node, fresh, ranges, seed)
    assert [op for op in LOCAL if not data[op]] == []
    assert [op for op in (*SUMS, *COMPARED, "min", "max") if not indices[op]] == []
    assert " ".join(reached.missed()) == ""


# Bounds -------------------------------------------------------------------------------------


def ranged(op: str, seed: int) -> tuple[Expr, dict[Expr, Interval]]:
    """``op`` on variables of random ranges, some of one value, some of all."""
    rng, ranges = Random(f"{op} {seed}"), {}
    kinds = rng.choice([k for k in operand_types(op) if f32 not in k])
    args = []
    for place, kind in enumerate(kinds):
        arg = var("abc"[place], vector(kind, 4))
        low, high = type_range(kind)
        ends = [low, high, -1, 0, 1, 2, 5, kind.bits - 1, *(rng.randint(low, high) for _ in "ab")]
        first, last = sorted(min(max(rng.choice(ends), low), high) for _ in "ab")
        ranges[arg] = (0, 3) if op == "lookup" and place else (first, last)
        args.append(arg)
    if op in CASTS:
        return Expr(op, vector(rng.choice(INTEGERS), 4), tuple(args)), ranges
    return make(op, *args, attr=ATTRS.get(op)), ranges


@pytest.mark.parametrize("op", [op.name for op in OPS.values() if op.interval])
def test_bounds_hold(op: str) -> None:
    for seed in range(80):
        node, ranges = ranged(op, seed)
        rng = np.random.default_rng(seed)
        env = {leaf.attr: values(leaf, ends, rng) for leaf, ends in ranges.items()}
        with np.errstate(all="ignore"):
            found = evaluate_expr(node, env)
        low, high = bounds(node, ranges)
        assert low <= int(found.min()) and int(found.max()) <= high, f"{node} {ranges}"
